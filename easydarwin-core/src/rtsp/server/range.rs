//! `Range`, `Scale` and `Speed` of a PLAY. Nothing but the present can be played, at the pace at
//! which it happens, and the answer says so; what is checked here is only whether the headers ask
//! for something that could be.

use crate::rtsp::{Headers, Status};

/// Which paces a PLAY asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    scale: Option<f64>,
    speed: Option<f64>,
}

impl Pace {
    /// 400 for what is no number, and for a `Speed` that is none (RFC 2326, 12.34 and 12.35).
    pub(super) fn asked(headers: &Headers) -> Result<Self, Status> {
        let number = |name| {
            let value = headers.get(name).map(|value| value.trim().parse::<f64>());
            match value.transpose() {
                Ok(value) if value.is_none_or(f64::is_finite) => Ok(value),
                _ => Err(Status::BAD_REQUEST),
            }
        };
        let (scale, speed) = (number("Scale")?, number("Speed")?);
        if speed.is_some_and(|speed| speed < 0.0) {
            return Err(Status::BAD_REQUEST);
        }
        Ok(Self { scale, speed })
    }

    pub(super) fn backwards(self) -> bool {
        self.scale.is_some_and(|scale| scale < 0.0)
    }

    /// Whoever asked is told the pace that is really used.
    pub(super) fn answer(self, headers: &mut Headers) {
        for (name, asked) in [("Scale", self.scale), ("Speed", self.speed)] {
            if asked.is_some() {
                headers.push(name, "1.0");
            }
        }
    }
}

/// Refuses what is no range (457, RFC 2326 11.3.8) or a kind of time that is not known (501,
/// RFC 2326 12.29). `backwards`: a negative `Scale` stands beside it.
pub(super) fn check(value: &str, backwards: bool) -> Result<(), Status> {
    let (unit, times) = value
        .split(';')
        .next()
        .and_then(|range| range.split_once('='))
        .ok_or(Status::INVALID_RANGE)?;
    let unit = unit.trim().to_ascii_lowercase();
    let time = match unit.as_str() {
        "npt" => npt,
        "clock" => clock,
        _ if unit == "smpte" || unit.starts_with("smpte-") => smpte,
        _ => return Err(Status::NOT_IMPLEMENTED),
    };
    // A start alone is what some players write for "from there on".
    let (from, to) = times.split_once('-').unwrap_or((times, ""));
    let (from, to) = (from.trim(), to.trim());
    if from.is_empty() && unit != "npt" {
        return Err(Status::INVALID_RANGE);
    }
    let from = moment(from, time)?;
    let to = moment(to, time)?;
    match (from, to) {
        (Some(from), Some(to)) if from > to && !backwards => Err(Status::INVALID_RANGE),
        _ => Ok(()),
    }
}

/// A time as numbers that compare as it does; `None`: open, or now.
type Moment = [u64; 4];

fn moment(text: &str, time: fn(&str) -> Option<Moment>) -> Result<Option<Moment>, Status> {
    if text.is_empty() || text.eq_ignore_ascii_case("now") {
        return Ok(None);
    }
    time(text).map(Some).ok_or(Status::INVALID_RANGE)
}

/// Normal play time (RFC 2326, 3.6).
fn npt(text: &str) -> Option<Moment> {
    let (whole, nanos) = fraction(text)?;
    let seconds = match whole.split(':').collect::<Vec<_>>().as_slice() {
        [seconds] => number(seconds)?,
        [hours, minutes, seconds] => number(hours)?
            .checked_mul(3600)?
            .checked_add(number(minutes)?.checked_mul(60)?)?
            .checked_add(number(seconds)?)?,
        _ => return None,
    };
    Some([seconds, nanos, 0, 0])
}

/// Absolute time (RFC 2326, 3.7): `19961108T142300.25Z`.
fn clock(text: &str) -> Option<Moment> {
    let (whole, nanos) = fraction(text.strip_suffix('Z')?)?;
    let (day, time) = whole.split_once('T')?;
    (day.len() == 8 && time.len() == 6).then_some(())?;
    Some([number(day)?, number(time)?, nanos, 0])
}

/// SMPTE time code (RFC 2326, 3.5): `10:07:33:05.01`.
fn smpte(text: &str) -> Option<Moment> {
    let (whole, _) = fraction(text)?;
    match whole.split(':').collect::<Vec<_>>().as_slice() {
        [hours, minutes, seconds] => Some([number(hours)?, number(minutes)?, number(seconds)?, 0]),
        [hours, minutes, seconds, frames] => Some([
            number(hours)?,
            number(minutes)?,
            number(seconds)?,
            number(frames)?,
        ]),
        _ => None,
    }
}

/// What stands before the point, and the first nine digits behind it.
fn fraction(text: &str) -> Option<(&str, u64)> {
    let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
    let digits = behind.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = format!("{behind:0<9}");
    Some((whole, number(nanos.get(..9)?)?)).filter(|_| digits)
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
