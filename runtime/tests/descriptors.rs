//! The table of descriptors does not grow while connections come.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_runtime::descriptors;

/// Descriptors that the kernel's table has room for (proc(5), `FDSize`).
fn room() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    line.and_then(|size| size.trim().parse().ok())
        .expect("a number")
}

#[test]
fn there_is_room_for_all_descriptors_that_the_process_may_raise_its_bound_to() {
    let usual = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(256),
        ..usual
    };
    setrlimit(Resource::Nofile, few).expect("a process may lower its bound");
    let most = usual.maximum.unwrap_or(u64::MAX).min(1 << 16);
    assert!(room() < most, "the test would show nothing: {}", room());
    descriptors::reserve();
    assert_eq!(descriptors::most(), usual.maximum);
    assert!(room() >= most, "{} of {most}", room());
}
