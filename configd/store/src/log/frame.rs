//! Rows of the log: small, checksummed, and chained to the row before.

use tidegate_ir::Digest;

use crate::disk::Row;

/// A row's value, at most, so that sled keeps it in its own file. See the module `disk`.
const ROW_BYTES_MAX: usize = 8 << 10;
/// Magic, parts, length, checksum, chain.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 8;
const MAGIC: &[u8; 4] = b"TGL1";

/// The hash of everything in the log up to a row.
pub(crate) type Chain = u64;

/// Key of the row that holds part `part` of entry `index`.
pub(crate) fn key(index: u64, part: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(13);
    key.push(b'l');
    key.extend(index.to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

/// Index and part of a row's key.
pub(crate) fn read_key(key: &[u8]) -> Option<(u64, u32)> {
    let rest = key.strip_prefix(b"l")?;
    let (index, part) = rest.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*index),
        u32::from_be_bytes(part.try_into().ok()?),
    ))
}

/// The rows of an entry, and the chain after the last one.
pub(crate) fn split(index: u64, entry: &[u8], mut chain: Chain) -> (Vec<Row>, Chain) {
    let room = ROW_BYTES_MAX - HEADER_BYTES;
    let parts =
        u32::try_from(entry.len().div_ceil(room).max(1)).expect("an entry is far below 4 GiB");
    let mut rows = Vec::with_capacity(parts as usize);
    for part in 0..parts {
        let start = part as usize * room;
        let payload = &entry[start..entry.len().min(start + room)];
        let key = key(index, part);
        let value = seal(&key, payload, parts, chain);
        chain = link(chain, &key, payload);
        rows.push((key, value));
    }
    (rows, chain)
}

/// The value of a row that stands alone.
pub(crate) fn seal_single(key: &[u8], payload: &[u8]) -> Vec<u8> {
    seal(key, payload, 1, 0)
}

/// A row's value, checked: how many parts its entry has, the chain before it, and its payload.
pub(crate) fn open<'v>(
    key: &[u8],
    value: &'v [u8],
) -> Result<(u32, Chain, &'v [u8]), &'static str> {
    let (header, payload) = value.split_at_checked(HEADER_BYTES).ok_or("is too short")?;
    if &header[..4] != MAGIC {
        return Err("does not begin like a row");
    }
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (parts, len, crc) = (number(4), number(8), number(12));
    let chain = u64::from_be_bytes(header[16..24].try_into().expect("eight bytes"));
    if len as usize != payload.len() {
        return Err("has another length than it states");
    }
    if crc != checksum(key, parts, chain, payload) {
        return Err("has a wrong checksum");
    }
    Ok((parts, chain, payload))
}

/// The chain after a row.
pub(crate) fn link(before: Chain, key: &[u8], payload: &[u8]) -> Chain {
    let mut bytes = Vec::with_capacity(8 + key.len() + payload.len());
    bytes.extend(before.to_be_bytes());
    bytes.extend(key);
    bytes.extend(payload);
    let digest = Digest::of(&bytes);
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().expect("eight bytes"))
}

fn seal(key: &[u8], payload: &[u8], parts: u32, chain: Chain) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a row is at most 8 KiB");
    let mut value = Vec::with_capacity(HEADER_BYTES + payload.len());
    value.extend(MAGIC);
    value.extend(parts.to_be_bytes());
    value.extend(len.to_be_bytes());
    value.extend(checksum(key, parts, chain, payload).to_be_bytes());
    value.extend(chain.to_be_bytes());
    value.extend(payload);
    value
}

fn checksum(key: &[u8], parts: u32, chain: Chain, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, &parts.to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &chain.to_be_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_row_is_above_the_bound() {
        let (rows, _) = split(9, &vec![7; 100_000], 1);
        assert!(rows.len() > 12);
        assert!(rows.iter().all(|(_, value)| value.len() <= ROW_BYTES_MAX));
    }

    #[test]
    fn every_flipped_bit_of_a_row_is_found() {
        let (rows, _) = split(9, b"an entry", 1);
        let (key, value) = &rows[0];
        assert_eq!(open(key, value), Ok((1, 1, &b"an entry"[..])));
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(key, &flipped).is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_row_under_another_key_is_found() {
        let (rows, _) = split(9, b"an entry", 1);
        assert!(open(&key(10, 0), &rows[0].1).is_err());
    }
}
