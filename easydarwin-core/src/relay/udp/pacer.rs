use std::time::{Duration, Instant};

/// What one reader gets at once. A default receive buffer of 208 KiB holds some 90 packets of
/// Ethernet's size, because the kernel counts the memory of each, not its length; this is a
/// third of it.
pub(super) const BURST: usize = 48 * 1024;
/// Datagrams of one send.
pub(super) const SLICE: usize = 32;
/// Least time between two bursts: what the runtime's timer can do.
const INTERVAL: Duration = Duration::from_millis(1);
/// Backlog of small units is sent so much at a time: each wake-up for less costs as much.
const PORTION: usize = BURST / 4 * 3;

/// Backlog is sent this many times faster than it was filmed: two seconds of it are made up for
/// in two thirds of a second.
const CATCH_UP: u64 = 4;
/// The same however slow the stream is, in bytes per second (16 Mbit/s). A player that rests may
/// do so for 64 ms before its buffer is full, and half a megabyte still takes only a quarter of
/// a second.
const FLOOR: u64 = 2_000_000;
/// The most that the stream's own bit rate does not force, in bytes per second (64 Mbit/s): a
/// buffer full in 16 ms, and well within a camera's 100 Mbit/s network.
const CEILING: u64 = 8_000_000;
/// A stream above the ceiling is still sent faster than it comes.
const LEAST_GAIN: u64 = 2;

/// Older than this, a unit is backlog and not the live flow.
const LIVE: Duration = Duration::from_millis(100);
/// A live picture is out after less than half of a frame time, so that with timers that come late
/// it is within half of one. The next picture never waits for it.
const PICTURE_SHARE: (u32, u32) = (9, 20);
/// Time that a late timer lost is made up for up to this.
const SLACK: Duration = Duration::from_millis(4);
/// The frame time until it is known, and its bounds: a camera of one picture a second still has
/// its picture shown at once.
const USUAL_FRAME: Duration = Duration::from_millis(40);
const SHORTEST_FRAME: Duration = Duration::from_millis(8);
const LONGEST_FRAME: Duration = Duration::from_millis(66);

/// Spreads what one reader gets, so that its receive buffer does not overflow: a bucket that
/// holds a burst and leaks at the rate that fits what there is to send. What fits the bucket is
/// sent at once.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes sent that have not leaked yet.
    level: usize,
    /// When the level was as it is.
    at: Option<Instant>,
    /// When the next slice was to leave.
    due: Option<Instant>,
    /// Bytes per second.
    rate: u64,
    /// Track and timestamp of the picture for which the rate was made.
    picture: Option<(usize, i64)>,
}

/// What waits to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// Track and timestamp of the picture that is next.
    pub(super) picture: (usize, i64),
    /// Bytes of it that are not out.
    pub(super) bytes: usize,
    /// Bytes that are not out, of this picture and of what follows, as far as they matter for the
    /// next burst.
    pub(super) ahead: usize,
    /// Since when it waits.
    pub(super) age: Duration,
    /// Time of a picture, if it is known.
    pub(super) frame: Option<Duration>,
    /// The stream's bits per second; 0: not known yet.
    pub(super) bitrate: u64,
}

impl Pacer {
    pub(super) fn new() -> Self {
        Self {
            level: 0,
            at: None,
            due: None,
            rate: FLOOR,
            picture: None,
        }
    }

    /// Lets leak what has leaked by now. Call at the beginning of a turn.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(at) = self.at else {
            return;
        };
        // What waited for a timer is reckoned to have left when it should: else all timers that
        // come late would add up.
        let on_time = |due: &Instant| *due <= now && now.saturating_duration_since(*due) <= SLACK;
        let due = self.due.filter(on_time);
        let until = due.unwrap_or(now);
        let leaked = bytes_in(self.rate, until.saturating_duration_since(at));
        if leaked > 0 {
            self.level = self.level.saturating_sub(leaked);
            self.at = Some(until);
        }
        if self.level == 0 && due.is_none() {
            self.at = None;
        }
    }

    /// Whether so many bytes may be sent now. An empty bucket takes anything.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        self.level == 0 || self.level.saturating_add(bytes) <= BURST
    }

    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.due = None;
        self.at.get_or_insert(now);
        self.level = self.level.saturating_add(bytes);
    }

    /// When to come back with `bytes` that were not admitted.
    pub(super) fn due(&mut self, bytes: usize, demand: &Demand, now: Instant) -> Instant {
        let rate = demand.rate();
        // The picture becomes shorter while it is sent; its rate does not.
        let same = self.picture.replace(demand.picture) == Some(demand.picture);
        self.rate = if same { self.rate.max(rate) } else { rate };
        let bytes = bytes.max(demand.ahead.min(PORTION));
        let over = self.level.saturating_add(bytes).saturating_sub(BURST);
        let wait = time_of(over.min(self.level), self.rate);
        let from = self.at.unwrap_or(now);
        let due = (from + wait).max(now + INTERVAL);
        self.due = Some(due);
        due
    }
}

impl Demand {
    /// Bytes per second at which it is sent.
    fn rate(&self) -> u64 {
        let own = self.bitrate / 8;
        let catch_up = own
            .saturating_mul(CATCH_UP)
            .clamp(FLOOR, CEILING)
            .max(own.saturating_mul(LEAST_GAIN));
        if self.age > LIVE {
            return catch_up;
        }
        let frame = self
            .frame
            .unwrap_or(USUAL_FRAME)
            .clamp(SHORTEST_FRAME, LONGEST_FRAME);
        let (share, of) = PICTURE_SHARE;
        let span = u128_to_u64((frame * share / of).as_micros()).max(1);
        let bytes = u64::try_from(self.bytes).unwrap_or(u64::MAX);
        catch_up.max(bytes.saturating_mul(1_000_000) / span)
    }
}

fn bytes_in(rate: u64, elapsed: Duration) -> usize {
    let micros = u128_to_u64(elapsed.as_micros());
    usize::try_from(rate.saturating_mul(micros) / 1_000_000).unwrap_or(usize::MAX)
}

fn time_of(bytes: usize, rate: u64) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_micros(bytes.saturating_mul(1_000_000).div_ceil(rate.max(1)))
}

fn u128_to_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1412;

    /// Sends units (bytes each, and how old they are) as the writer does, with timers that come
    /// `late`. Returns when each slice left.
    fn send(
        pacer: &mut Pacer,
        start: Instant,
        units: &[(usize, Duration)],
        bitrate: u64,
        late: Duration,
    ) -> Vec<(Duration, usize)> {
        let mut now = start;
        let mut out = Vec::new();
        for (number, (bytes, age)) in (0_i64..).zip(units) {
            let index = usize::try_from(number).unwrap();
            let mut left = *bytes;
            while left > 0 {
                let slice = left.min(SLICE * PACKET);
                pacer.advance(now);
                if pacer.admits(slice) {
                    pacer.sent(slice, now);
                    out.push((now - start, slice));
                    left -= slice;
                    continue;
                }
                let demand = Demand {
                    picture: (0, number),
                    bytes: left,
                    ahead: left
                        + units
                            .iter()
                            .skip(index + 1)
                            .map(|unit| unit.0)
                            .sum::<usize>(),
                    age: *age,
                    frame: Some(Duration::from_millis(40)),
                    bitrate,
                };
                let due = pacer.due(slice, &demand, now);
                assert!(due >= now + INTERVAL);
                now = due + late;
            }
        }
        out
    }

    /// What a player's buffer holds at most, that takes `drain` bytes per second steadily.
    fn fullest(sent: &[(Duration, usize)], drain: u64) -> usize {
        let (mut level, mut at, mut most) = (0_usize, Duration::ZERO, 0);
        for (time, bytes) in sent {
            level = level.saturating_sub(bytes_in(drain, *time - at)) + bytes;
            at = *time;
            most = most.max(level);
        }
        most
    }

    #[test]
    fn small_units_leave_at_once() {
        let start = Instant::now();
        let mut pacer = Pacer::new();
        for picture in 0..100_u32 {
            let now = start + Duration::from_millis(40) * picture;
            pacer.advance(now);
            assert!(pacer.admits(40_000));
            pacer.sent(40_000, now);
        }
    }

    #[test]
    fn a_live_key_frame_is_out_within_half_a_frame_time() {
        for late in [0, 300, 1000] {
            let mut pacer = Pacer::new();
            let units = [(190 * PACKET, Duration::ZERO)];
            let late = Duration::from_micros(late);
            let sent = send(&mut pacer, Instant::now(), &units, 8_000_000, late);
            let (last, _) = *sent.last().unwrap();
            assert!(last <= Duration::from_millis(20), "{last:?} with {late:?}");
            assert!(last >= Duration::from_millis(12), "{last:?}");
            // A player that takes seven packets a millisecond never has 90 waiting.
            let full = fullest(&sent, u64::try_from(7000 * PACKET).unwrap());
            assert!(full < 90 * PACKET, "{}", full / PACKET);
        }
    }

    #[test]
    fn a_start_burst_follows_the_bit_rate() {
        // Two seconds: a key frame, then 49 pictures.
        let group = |bitrate: usize| {
            let bytes = bitrate / 8 * 2;
            let mut units = vec![(bytes / 8, Duration::from_secs(2))];
            units.resize(50, ((bytes - bytes / 8) / 49, Duration::from_secs(1)));
            units
        };
        for (bitrate, least, most) in [
            (2_000_000, 150, 300),
            (8_000_000, 400, 600),
            (40_000_000, 800, 1300),
        ] {
            let mut pacer = Pacer::new();
            let units = group(bitrate);
            let sent = send(
                &mut pacer,
                Instant::now(),
                &units,
                u64::try_from(bitrate).unwrap(),
                Duration::from_micros(500),
            );
            let (last, _) = *sent.last().unwrap();
            let millis = last.as_millis();
            assert!((least..=most).contains(&millis), "{bitrate}: {millis} ms");
            // A player that takes it as fast as it is sent has no more than two bursts waiting.
            let rate = (u64::try_from(bitrate).unwrap() / 2).clamp(FLOOR, CEILING);
            let rate = rate.max(u64::try_from(bitrate / 4).unwrap());
            let full = fullest(&sent, rate);
            assert!(full <= 2 * BURST, "{bitrate}: {} packets", full / PACKET);
        }
    }

    #[test]
    fn a_bucket_at_rest_is_empty_and_takes_one_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new();
        pacer.sent(BURST, start);
        pacer.advance(start);
        assert!(!pacer.admits(1));
        let later = start + Duration::from_secs(10);
        pacer.advance(later);
        assert!(pacer.admits(BURST));
        pacer.sent(BURST, later);
        pacer.advance(later);
        assert!(!pacer.admits(1));
        // Something larger than a burst leaves when the bucket is empty.
        pacer.advance(later + Duration::from_secs(1));
        assert!(pacer.admits(2 * BURST));
    }

    #[test]
    fn streams_above_the_ceiling_and_pictures_of_any_rate_keep_up() {
        let demand = |bitrate, age, frame| Demand {
            picture: (0, 0),
            bytes: 1_000_000,
            ahead: 1_000_000,
            age,
            frame,
            bitrate,
        };
        let old = Duration::from_secs(1);
        assert_eq!(demand(0, old, None).rate(), FLOOR);
        assert_eq!(demand(10_000_000, old, None).rate(), 5_000_000);
        assert_eq!(demand(30_000_000, old, None).rate(), CEILING);
        assert_eq!(demand(100_000_000, old, None).rate(), 25_000_000);
        // Live: a megabyte in 18 ms, at 120 pictures a second in 3.75, at one a second in 29.7.
        let fps = |fps| Some(Duration::from_secs(1) / fps);
        let rate = |frame| demand(0, Duration::ZERO, frame).rate();
        assert_eq!(rate(None), 1_000_000_000_000 / 18_000);
        assert!(rate(fps(120)) > 260_000_000);
        assert_eq!(rate(fps(1)), 1_000_000_000_000 / 29_700);
    }
}
