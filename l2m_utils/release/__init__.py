"""What a release is made of: its version and notes, an archive that anyone can check, the bill of materials and the licences."""
