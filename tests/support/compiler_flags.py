"""XLA's flags in the tests, whose time is mostly spent on compilation."""


def xla_flags(devices: int) -> str:
    """For XLA_FLAGS: this number of virtual CPU devices, and compilation in half the time."""
    return (
        f"--xla_force_host_platform_device_count={devices} "
        "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
    )
