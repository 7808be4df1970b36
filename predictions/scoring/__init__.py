"""Score a CSV file: split it into parts that every free worker takes from, score and log each part once.

A part is read, checked by the contract, scored, copied into the log, and its results are stored, in one transaction
that holds the part's row locked. A worker that is killed leaves no part half done and no lock behind, and no part is
scored twice. The job's own worker only splits the file, takes parts like the others, and waits for the last.
"""

from predictions.scoring.chunks import PROBABILITY, prediction_ids, score_chunk
from predictions.scoring.job import delete, score, score_parts
from predictions.scoring.result_files import are_results_stored, delete_results, result_bytes, results

__all__ = [
    "PROBABILITY", "are_results_stored", "delete", "delete_results", "prediction_ids", "result_bytes", "results",
    "score", "score_chunk", "score_parts",
]  # fmt: skip
