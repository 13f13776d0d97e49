"""Make a pretrained model ready to measure with: fetch the packaged one, or convert a GGUF file, once.

Prints its name, the revision by which scores are found again, the token before every text and its folder.  Afterwards the same
name is a model for the command measure.  --draw, --score and --publish are the steps of the chapter "The ruler matters", --ladder
trains models of our own and measures the same blocks with them, --younger measures text that was written after the model.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the steps of the chapter."""
    parser.add_argument("model", nargs="?", default="packaged:smollm2-135m", help="packaged:NAME or FILE.gguf")
    draw = parser.add_argument_group("fix the blocks that are scored")
    draw.add_argument("--draw", type=Path, metavar="FILE", help="write them there, for the tokenizer of the model")
    draw.add_argument("--books", help="the corpus of books, a path or a name")
    draw.add_argument("--wiki", help="the corpus of articles")
    draw.add_argument(
        "--published", action="store_true", help="the blocks that the published scores are of, from the same corpora"
    )
    score = parser.add_argument_group("score them, in cells that survive a kill")
    score.add_argument("--score", type=Path, metavar="FOLDER", help="of the cells; the same one again goes on")
    score.add_argument("--draws", type=Path, help="the file of --draw")
    score.add_argument("--tasks", nargs="+", default=["short"], help="in l2m_utils/experiments/ruler.py")
    score.add_argument(
        "--documents", type=int, metavar="N", help="about the first N of the draw, a random sample (default: all)"
    )
    score.add_argument("--threads", type=int, default=1)
    ladder = parser.add_argument_group(
        "train the rungs of the ladder and measure the same blocks, with --draws, --books"
    )
    ladder.add_argument("--ladder", type=Path, metavar="FOLDER", help="of the rungs; the same one again goes on")
    ladder.add_argument("--openings", help="the corpus that they learn from")
    ladder.add_argument("--rungs", nargs="+", default=["small-1x-0"], help="in l2m_utils/experiments/ladder_rules.py")
    younger = parser.add_argument_group("measure docstrings that are younger than the model; needs the network once")
    younger.add_argument("--younger", type=Path, metavar="FOLDER", help="of the cells; the same one again goes on")
    publish = parser.add_argument_group(
        "make records of what was scored, with --draws: of --cells alone, or of --scores"
    )
    publish.add_argument("--publish", type=Path, metavar="FOLDER", help="of the records, such as results")
    publish.add_argument("--scores", type=Path, help="what a GPU left: folder with ruler-1.parquet … and stage-b.zip")
    publish.add_argument(
        "--cells", type=Path, help="folder of --score: records of tier laptop, or with --scores the comparison"
    )
    publish.add_argument(
        "--further", action="store_true", help="what --cells add to the records of the same ruler that are published"
    )


def run(options: argparse.Namespace) -> int:
    """Prepare, draw, score or publish."""
    if options.published and not options.draw:
        raise ValueError("--published needs --draw: give the file that the blocks are written to")
    if options.draw and not (options.books and options.wiki):
        raise ValueError("--draw needs --books and --wiki: give the two corpora")
    if options.draw and options.published:
        from l2m_utils.experiments.ruler import ruler_texts
        from l2m_utils.experiments.ruler_blocks import published_draw

        published_draw(ruler_texts(options.model, options.books, options.wiki)).save(options.draw)
    elif options.draw:
        from l2m_utils.experiments.ruler import draw_all

        draw_all(options.model, options.books, options.wiki).save(options.draw)
    elif options.younger and options.publish:
        from l2m_utils.experiments.younger import publish_younger

        print(publish_younger(options.publish, options.younger))
    elif options.younger:
        from l2m_utils.experiments.younger import younger_command

        younger_command(options.younger, options.model, options.threads)
    elif options.ladder and options.publish:
        from l2m_utils.experiments.ladder import publish_ladder

        if not options.draws:
            raise ValueError("--ladder with --publish needs --draws: give the blocks that were measured")
        print(publish_ladder(options.publish, options.ladder, options.draws, options.scores, options.model))
    elif options.ladder:
        from l2m_utils.experiments.ladder import ladder_command

        if not (options.draws and options.openings and options.books):
            raise ValueError(
                "--ladder needs --draws, --openings and --books: give blocks, text to learn from, and what it must not share"
            )
        texts = options.draws, options.openings, options.books
        ladder_command(options.ladder, *texts, options.rungs, options.threads, options.model)
    elif options.score:
        from l2m_utils.experiments.ruler import score_command

        if not options.draws:
            raise ValueError("--score needs --draws: give the file that --draw wrote")
        score_command(options.model, options.draws, options.tasks, options.score, options.threads, options.documents)
    elif options.publish and options.further:
        from l2m_utils.experiments.ruler_further import further_command

        if not (options.draws and options.cells):
            raise ValueError("--further needs --draws and --cells: give the blocks and what was scored of them")
        for home in further_command(options.publish, options.draws, options.cells, options.model):
            print(home)
    elif options.publish:
        from l2m_utils.experiments.ruler_publish import publish_command

        if not options.draws:
            raise ValueError("--publish needs --draws: give the blocks that were scored")
        for home in publish_command(options.publish, options.draws, options.scores, options.cells, options.model):
            print(home)
    else:
        from l2m_utils.scoring.packaged import ruler

        made = ruler(options.model)
        print(f"{made.name} {made.revision}\nprefix token {made.prefix_id}\n{made.folder}")
    return 0
