//! State images survive the disk, and damage to them is noticed.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::state::tests::{Model, any_commands};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn replaying_the_log_equals_an_image_and_the_tail(steps in any_commands(), cut in 0_usize..40) {
        let mut model = Model::default();
        let log: Vec<_> = steps.iter().map(|step| model.command(step)).collect();
        let cut = cut.min(log.len());

        let mut image = Image::default();
        for (index, command) in (1..).zip(&log[..cut]) {
            image.state.apply(index, command);
        }
        let dir = tempfile::tempdir().unwrap();
        let file = Images::open(dir.path().to_owned()).unwrap().write(&image).unwrap();
        let mut restored = file.read().unwrap();
        prop_assert_eq!(&restored, &image);
        for (index, command) in (1..).zip(&log).skip(cut) {
            restored.state.apply(index, command);
        }
        prop_assert_eq!(&restored.state, &model.state);
    }
}

fn image() -> Image {
    let mut image = Image::default();
    let mut model = Model::default();
    for step in 0..40_u8 {
        let command = model.command(&(step % 12, step % 7, step));
        image.state.apply(u64::from(step) + 1, &command);
    }
    image
}

#[test]
fn a_flipped_bit_or_a_cut_in_an_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = Images::open(dir.path().to_owned())
        .unwrap()
        .write(&image())
        .unwrap();
    let whole = fs::read(&file.path).unwrap();
    for at in (0..whole.len()).step_by(37) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&file.path, &damaged).unwrap();
        assert!(
            matches!(file.read(), Err(StoreError::Damaged { .. })),
            "byte {at}"
        );
        fs::write(&file.path, &whole[..at]).unwrap();
        assert!(
            matches!(file.read(), Err(StoreError::Damaged { .. })),
            "cut at {at}"
        );
    }
}

#[test]
fn an_unfinished_image_is_removed_and_the_one_before_counts() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path().to_owned()).unwrap();
    images.write(&image()).unwrap();
    drop(images);
    fs::write(dir.path().join("00000000000000ff.tmp"), b"torn").unwrap();
    let images = Images::open(dir.path().to_owned()).unwrap();
    assert_eq!(images.newest(HIGHEST_LEVEL).unwrap().unwrap().1, image());
}

#[test]
fn an_image_that_an_ended_store_still_writes_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path().to_owned()).unwrap();
    let writing = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        images.write(&image()).unwrap();
    });
    let images = Images::open(dir.path().to_owned()).unwrap();
    assert_eq!(images.newest(HIGHEST_LEVEL).unwrap().unwrap().1, image());
    writing.join().unwrap();
}
