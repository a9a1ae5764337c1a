"""Workloads that show what was lost or doubled, one small file each; `kit.load` drives them."""
