"""Our service with some speed-ups switched off. Usage: python -m taosr_she.bench.serve.ours '{settings}' NAME..."""

import sys

from taosr_she.engine.speedups import without
from taosr_she.serve.running import serve
from taosr_she.serve.settings import ServeSettings

if __name__ == "__main__":
    with without(*sys.argv[2:]):
        serve(ServeSettings.model_validate_json(sys.argv[1]), lambda line: print(line, flush=True))
