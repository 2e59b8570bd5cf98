//! From when and until when a certificate is good. The libraries check it only together with a
//! chain of authorities, which a pinned key has not.

/// Seconds since 1970 of the first and the last moment (RFC 5280, 4.1.2.5); `None`: this is no certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let mut rest = certificate;
    let mut rest = tagged(&mut rest, SEQUENCE)?;
    let mut signed = tagged(&mut rest, SEQUENCE)?;
    let rest = &mut signed;
    if rest.first() == Some(&VERSION) {
        element(rest)?;
    }
    tagged(rest, INTEGER)?; // its number
    tagged(rest, SEQUENCE)?; // how it is signed
    tagged(rest, SEQUENCE)?; // by whom
    let mut dates = tagged(rest, SEQUENCE)?;
    let first = time(element(&mut dates)?)?;
    let last = time(element(&mut dates)?)?;
    Some((first, last))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

fn tagged<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(input).and_then(|(found, content)| (found == tag).then_some(content))
}

/// Tag and content of the next element of DER (X.690, 8.1), all of which have tags of one byte here.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, length], mut rest) = input.split_first_chunk()?;
    let length = match length {
        0..=0x7f => usize::from(length),
        0x81..=0x84 => {
            let (digits, behind) = rest.split_at_checked(usize::from(length & 0x7f))?;
            rest = behind;
            let digits = digits.iter();
            digits.fold(0, |length: usize, digit| length << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    *input = behind;
    Some((tag, content))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, as RFC 5280 wants them.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut pair = |range: std::ops::RangeInclusive<i64>| {
        pairs.next().flatten().filter(|value| range.contains(value))
    };
    let (month, day) = (pair(1..=12)?, pair(1..=31)?);
    let (hour, minute, second) = (pair(0..=23)?, pair(0..=59)?, pair(0..=60)?);
    // Days since 1970; years begin in March, so that the odd day of leap years is the last one.
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(first: (i32, u8, u8), last: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(first.0, first.1, first.2);
        params.not_after = date_time_ymd(last.0, last.1, last.2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    /// `date` knows days better than we do.
    fn seconds((year, month, day): (i32, u8, u8)) -> i64 {
        let text = format!("{year:04}-{month:02}-{day:02}");
        let output = Command::new("date")
            .args(["-u", "-d", &text, "+%s"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    #[test]
    fn dates_of_both_forms() {
        for dates in [
            ((1970, 1, 1), (1999, 12, 31)),
            ((1950, 1, 1), (2049, 12, 31)),
            ((2000, 2, 29), (2000, 3, 1)),
            ((2024, 2, 29), (2050, 1, 1)),
            ((2100, 2, 28), (2100, 3, 1)),
            ((2400, 2, 29), (9999, 12, 31)),
        ] {
            let made = certificate(dates.0, dates.1);
            assert_eq!(validity(&made), Some((seconds(dates.0), seconds(dates.1))));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        assert_eq!(time((UTC_TIME, b"700101000000Z")), Some(0));
        for text in [
            &b"700101000000"[..],
            b"701301000000Z",
            b"700100000000Z",
            b"7001010000Z",
            b"70010100000+Z",
            b"19700101000000Z",
        ] {
            assert_eq!(time((UTC_TIME, text)), None, "{text:?}");
        }
        assert_eq!(time((SEQUENCE, b"700101000000Z")), None);
    }

    proptest! {
        #[test]
        fn never_panics(
            at in any::<prop::sample::Index>(), to in any::<u8>(), end in any::<prop::sample::Index>()
        ) {
            let mut made = certificate((2020, 1, 1), (2050, 1, 1));
            made.truncate(end.index(made.len() + 1));
            if !made.is_empty() {
                let at = at.index(made.len().min(200));
                made[at] = to;
            }
            let _ = validity(&made);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = validity(&noise);
        }
    }
}
