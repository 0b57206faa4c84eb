//! The table of descriptors does not grow while connections come.

use tidegate_runtime::descriptors;

/// Descriptors that the kernel's table has room for (proc(5), `FDSize`).
fn room() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    line.and_then(|size| size.trim().parse().ok())
        .expect("a number")
}

#[test]
fn there_is_room_for_all_descriptors_that_the_process_may_have() {
    let most = descriptors::most().unwrap_or(u64::MAX).min(1 << 16);
    assert!(room() < most, "the test would show nothing: {}", room());
    descriptors::reserve();
    assert!(room() >= most, "{} of {most}", room());
}
