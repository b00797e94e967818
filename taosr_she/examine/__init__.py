"""Examination: finding the verdict of every step of a rollout.

An examiner is anything with `examine(pairs, responses) -> Verdicts`. `verdicts` holds that contract, `verifier` the
offline verifier, which answers from stored annotations.
"""
