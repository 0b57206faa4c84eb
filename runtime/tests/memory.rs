//! Memory that is free goes back to the system.

use std::hint::black_box;
use std::time::Duration;

use tidegate_runtime::memory::{Allocator, give_back_regularly, resident_bytes};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Bytes of a buffer, as large as what a client leaves unread.
const BUFFER_BYTES: usize = 256 << 10;

#[tokio::test]
async fn what_another_thread_has_freed_goes_back() {
    let resident = || resident_bytes().expect("Linux says it");
    let before = resident();
    let used = std::thread::spawn(move || {
        let buffers: Vec<_> = (0..400).map(|_| vec![1_u8; BUFFER_BYTES]).collect();
        let used = resident();
        drop(black_box(buffers));
        used
    });
    let taken = used
        .join()
        .expect("it does not panic")
        .saturating_sub(before);
    assert!(taken > 50 << 20, "{taken} bytes were taken");
    give_back_regularly();
    let given_back = async {
        while resident().saturating_sub(before) > taken / 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = given_back => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{} bytes are kept", resident()),
    }
}
