//! Boxes of the ISO base media file format (ISO/IEC 14496-12, 4.2), read from bytes that nobody
//! vouches for: whatever is cut off or contradicts itself is simply not there.

/// A cursor over big-endian fields; every read past the end is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub(super) fn version(&mut self) -> Option<u8> {
        let version = self.u8()?;
        self.skip(3)?;
        Some(version)
    }

    /// A count that claims that many entries of `size` bytes follow; checked, so that nothing is
    /// reserved for entries that are not there.
    pub(super) fn count(&mut self, size: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count.checked_mul(size)? <= self.0.len()).then_some(count)
    }
}

/// A box header: type and payload length; `None` means up to the end.
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    pub(super) header_len: u64,
    pub(super) payload_len: Option<u64>,
}

/// Reads a header from at least 8 and at most 16 bytes.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let mut fields = Fields(bytes);
    let size = fields.u32()?;
    let kind = fields.array()?;
    let (header_len, size) = match size {
        0 => (8, None),
        1 => (16, Some(fields.u64()?)),
        size => (8, Some(u64::from(size))),
    };
    let payload_len = match size {
        None => None,
        Some(size) => Some(size.checked_sub(header_len)?),
    };
    Some(Header {
        kind,
        header_len,
        payload_len,
    })
}

/// The boxes inside a payload, up to the first that does not fit.
pub(super) fn children(payload: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let header = header(rest)?;
        let body = rest.get(usize::try_from(header.header_len).ok()?..)?;
        let len = match header.payload_len {
            None => body.len(),
            Some(len) => usize::try_from(len).ok()?,
        };
        let (body, tail) = body.split_at_checked(len)?;
        rest = tail;
        Some((header.kind, body))
    })
}

/// The first box of this type inside a payload.
pub(super) fn child<'a>(payload: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(payload).find_map(|(k, body)| (k == *kind).then_some(body))
}

/// Follows a path of types.
pub(super) fn descend<'a>(payload: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(payload, |payload, kind| child(payload, kind))
}
