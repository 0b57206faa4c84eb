//! Free space of a file system. The standard library has no call for it.
#![allow(
    unsafe_code,
    reason = "statvfs takes a pointer to the structure that it fills"
)]

use std::{ffi::CString, io, mem::MaybeUninit, os::unix::ffi::OsStrExt as _, path::Path};

/// Bytes that an unprivileged process may still write to the file system of `path`.
#[allow(
    clippy::useless_conversion,
    reason = "the width of the fields differs between platforms"
)]
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut found = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` is a NUL-terminated string and `found` is writable for the size of a statvfs; both live
    // until the call returns, and the call keeps neither.
    let status = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the structure was zeroed, which is a valid value for its integers, and the call has filled it.
    let found = unsafe { found.assume_init() };
    Ok(u64::from(found.f_bavail).saturating_mul(u64::from(found.f_frsize)))
}
