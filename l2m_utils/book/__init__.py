"""From notebooks and pages to the book: tiers, execution, assembly, reproduction and status."""
