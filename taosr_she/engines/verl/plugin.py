"""What verl loads by the entry point `verl.plugins`, in every process: the advantage estimator `srpo`.

verl swallows an error of a plug-in (a line at level DEBUG), so this file does little: it must not fail.
"""

from verl.trainer.ppo.core_algos import register_adv_est

from taosr_she.engines.verl.advantage import srpo

register_adv_est("srpo")(srpo)
