//! Pointers in, structs out. Everything that reads or writes what the caller points to is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, size_of};

use crate::abi::{EDC_MAX_PARTS, edc_event, edc_frame, edc_part, edc_stats, edc_tls};
use crate::failure::Failure;

/// Structs whose first field is their size as `u32`, and for which all bytes zero are a good value.
///
/// # Safety
/// `repr(C)`, begins with a `u32`, holds only integers, raw pointers and functions that may be absent.
pub(crate) unsafe trait Sized32: Copy {}

// SAFETY: all three are `repr(C)`, begin with `size: u32` and hold integers and raw pointers only.
unsafe impl Sized32 for edc_frame {}
// SAFETY: as above.
unsafe impl Sized32 for edc_event {}
// SAFETY: as above.
unsafe impl Sized32 for edc_stats {}

// SAFETY: `repr(C)`, begins with `size: u32`, and holds functions in `Option` only.
unsafe impl Sized32 for edc_tls {}

/// Reads a struct of which the caller may know less, or more, fields than this library: what he does
/// not know is zero.
///
/// # Safety
/// `from` is NULL, or points to as many bytes as its first field says.
pub(crate) unsafe fn read<T: Sized32>(from: *const T) -> Result<T, Failure> {
    let bytes = usize::try_from(size_of_struct(from)?).unwrap_or(usize::MAX);
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the source has `bytes` readable bytes by this function's contract, the target
    // `size_of::<T>()`; they cannot overlap, for the target is a local variable.
    unsafe {
        std::ptr::copy_nonoverlapping(
            from.cast::<u8>(),
            value.as_mut_ptr().cast::<u8>(),
            bytes.min(size_of::<T>()),
        );
    }
    // SAFETY: all bytes were zeroed or copied, and any bytes are a good `T` (`Sized32`).
    Ok(unsafe { value.assume_init() })
}

/// Writes as much of a struct as the caller knows; his size stays.
///
/// # Safety
/// `to` is NULL, or points to as many bytes as its first field says.
pub(crate) unsafe fn write<T: Sized32>(to: *mut T, value: &T) -> Result<(), Failure> {
    let bytes = usize::try_from(size_of_struct(to.cast_const())?).unwrap_or(usize::MAX);
    let skip = size_of::<u32>();
    let count = bytes.min(size_of::<T>()).saturating_sub(skip);
    // SAFETY: both have `skip + count` bytes, the target by this function's contract, and `value` is
    // no part of it: a reference to it exists.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>().add(skip),
            to.cast::<u8>().add(skip),
            count,
        );
    }
    Ok(())
}

fn size_of_struct<T: Sized32>(from: *const T) -> Result<u32, Failure> {
    if from.is_null() {
        return Err(Failure::invalid("the struct is NULL"));
    }
    // SAFETY: not NULL, so by the callers' contract it points to a struct that begins with its size
    // (`Sized32`); read unaligned, for packed structs around it are the caller's choice.
    let size = unsafe { from.cast::<u32>().read_unaligned() };
    if size < 8 {
        return Err(Failure::invalid("size is not set: sizeof the struct"));
    }
    Ok(size)
}

/// Writes what an entry returns through a pointer.
///
/// # Safety
/// `to` is NULL or points to writable memory for a `T`.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::invalid("the place for the result is NULL"));
    }
    // SAFETY: not NULL, so writable by this function's contract.
    unsafe { to.write(value) };
    Ok(())
}

/// A text of the caller.
///
/// # Safety
/// `text` is NULL or points to bytes that end with a 0 and stay unchanged during `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::invalid(format!("{name} is NULL")));
    }
    // SAFETY: by this function's contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map_err(|_| Failure::invalid(format!("{name} is no UTF-8")))
}

/// Bytes of the caller.
///
/// # Safety
/// `data` is NULL or points to `length` bytes that stay unchanged during `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, length: u32) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::invalid("the bytes are NULL"));
    }
    let length = usize::try_from(length).unwrap_or(0);
    if length > isize::MAX.unsigned_abs() {
        return Err(Failure::invalid("more bytes than there is memory"));
    }
    // SAFETY: not NULL, and by this function's contract `length` readable bytes, not more than
    // `isize::MAX`.
    Ok(unsafe { std::slice::from_raw_parts(data, length) })
}

/// Runs `work` with the pieces of a frame, without taking memory for their list.
///
/// # Safety
/// `parts` is NULL or points to `count` parts, each of which points to its bytes; all stay unchanged
/// until this returns.
pub(crate) unsafe fn with_parts<R>(
    parts: *const edc_part,
    count: u32,
    work: impl FnOnce(&[&[u8]]) -> R,
) -> Result<R, Failure> {
    const MAX: usize = EDC_MAX_PARTS as usize;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if parts.is_null() || count == 0 || count > MAX {
        return Err(Failure::invalid("a frame has 1 to 64 parts"));
    }
    // SAFETY: not NULL, `count` parts by this function's contract.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    let mut slices: [&[u8]; MAX] = [&[]; MAX];
    for (slice, part) in slices.iter_mut().zip(parts) {
        // SAFETY: by this function's contract.
        *slice = unsafe { bytes(part.data, part.length) }?;
    }
    Ok(work(slices.get(..count).unwrap_or_default()))
}
