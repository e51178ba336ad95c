"""The kernel level: one fused loop nest over named axes, its schedule, its cost."""
