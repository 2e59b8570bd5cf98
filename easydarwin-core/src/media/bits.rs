use thiserror::Error;

/// A parameter set or configuration that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BitstreamError {
    /// It ends before the field that is being read.
    #[error("bitstream ends before {0}")]
    Truncated(&'static str),
    /// It is of another kind than the reader that was asked.
    #[error("not a {0}")]
    WrongKind(&'static str),
    /// A field has a value that the standard does not allow or that this reader bounds.
    #[error("{0} out of range")]
    OutOfRange(&'static str),
}
