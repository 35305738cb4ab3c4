"""Coverage-guided fuzzing of `targets.parser`: `python fuzz/fuzz_parser.py -max_total_time=600`."""

from run import run

if __name__ == "__main__":
    run("parser")
