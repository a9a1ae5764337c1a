"""Everything that a schedule does follows from its seed: neither time nor the order of sets, nor what ran before it, has a say."""

from kit.fingerprint import fingerprint, fingerprints_elsewhere
from kit.schedule import LONG, SHORT


def test_a_seed_leaves_the_same_log_twice_and_in_a_process_with_other_hashes() -> None:
    for steps, seeds in ((SHORT, (11, 12, 13, 14)), (LONG, (15,))):
        here = [fingerprint(seed, steps) for seed in seeds]
        assert len(set(here)) == len(seeds)
        assert [fingerprint(seed, steps) for seed in seeds] == here
        assert fingerprints_elsewhere(seeds, steps, hash_seed=1) == here
        assert fingerprints_elsewhere(seeds, steps, hash_seed=2) == here
