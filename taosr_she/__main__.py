"""`python -m taosr_she`, and `torchrun -m taosr_she`."""

from taosr_she.cli import main

if __name__ == "__main__":
    main()
