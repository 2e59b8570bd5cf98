use thiserror::Error;

/// What came is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the tunnelled bytes are not base64")]
pub(crate) struct BadBase64;

/// Decodes the base64 of a tunnel, wherever it is cut. Clients encode request by request, so
/// padding may stand within; line ends are skipped.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bits: u32,
    /// Symbols in `bits`.
    symbols: u8,
    /// One more `=` belongs to the group that is over.
    padding: bool,
}

impl Decoder {
    /// Appends what `input` says to the front of `out`, which has to hold three quarters of it and
    /// two bytes more. Returns how many bytes it was.
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, BadBase64> {
        let mut filled = 0;
        for &byte in input {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'\r' | b'\n' | b' ' | b'\t' => continue,
                b'=' => {
                    self.pad(out, &mut filled)?;
                    continue;
                }
                _ => return Err(BadBase64),
            };
            self.padding = false;
            self.bits = (self.bits << 6) | u32::from(value);
            self.symbols += 1;
            if self.symbols == 4 {
                let [_, group @ ..] = self.bits.to_be_bytes();
                put(&group, out, &mut filled)?;
                (self.bits, self.symbols) = (0, 0);
            }
        }
        Ok(filled)
    }

    fn pad(&mut self, out: &mut [u8], filled: &mut usize) -> Result<(), BadBase64> {
        match self.symbols {
            0 if self.padding => self.padding = false,
            2 => {
                let [.., one] = (self.bits >> 4).to_be_bytes();
                put(&[one], out, filled)?;
                self.padding = true;
            }
            3 => {
                let [.., one, two] = (self.bits >> 2).to_be_bytes();
                put(&[one, two], out, filled)?;
            }
            _ => return Err(BadBase64),
        }
        (self.bits, self.symbols) = (0, 0);
        Ok(())
    }
}

fn put(bytes: &[u8], out: &mut [u8], filled: &mut usize) -> Result<(), BadBase64> {
    let end = filled.saturating_add(bytes.len());
    // Room is the caller's promise; without it the stream cannot be gone on with.
    let slot = out.get_mut(*filled..end).ok_or(BadBase64)?;
    slot.copy_from_slice(bytes);
    *filled = end;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::base64::encode;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, BadBase64> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for piece in pieces {
            let mut out = vec![0; piece.len() / 4 * 3 + 4];
            let count = decoder.decode(piece, &mut out)?;
            all.extend_from_slice(&out[..count]);
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn messages_come_out_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut text = String::new();
            for message in &messages {
                encode(message, &mut text);
                text.push_str("\r\n");
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> =
                at.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces), Ok(messages.concat()));
        }

        #[test]
        fn never_panics_and_never_grows(input in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(out) = decode(&[&input]) {
                prop_assert!(out.len() <= input.len() / 4 * 3 + 2);
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in [
            "=", "A=", "AAAA=", "AA===", "AAA==", "A-AA", "$\0\0\0", "{}",
        ] {
            assert_eq!(decode(&[text.as_bytes()]), Err(BadBase64), "{text}");
        }
        assert_eq!(
            decode(&[b"QQ", b"=", b"\n=QUI=QUJD"]),
            Ok(b"AABABC".to_vec())
        );
    }
}
