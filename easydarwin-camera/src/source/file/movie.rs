//! MP4: the sample tables of `moov` made into a list of samples in sending order.

use std::io::{self, Read, Seek, SeekFrom};

use easydarwin_core::media::Codec;

use super::boxes::{Fields, child, children, descend, header};
use super::clip::{Clip, Sample, Span, to_nanos};
use super::entry;

/// Longest `moov` that is read: some ten hours of a camera's recording.
const MAX_MOOV: u64 = 64 << 20;
/// Most samples of a file.
const MAX_SAMPLES: usize = 4_000_000;

/// Octets of G.711 sent together: 20 ms, the default of RFC 3551.
const G711_OCTETS: u32 = 160;

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub(super) enum MovieError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Format(String),
}

fn format(reason: impl Into<String>) -> MovieError {
    MovieError::Format(reason.into())
}

/// Reads the index of a file; the media stays where it is.
pub(super) fn read<F: Read + Seek>(file: &mut F) -> Result<Clip, MovieError> {
    let moov = find_moov(file)?;
    parse(&moov)
}

fn find_moov<F: Read + Seek>(file: &mut F) -> Result<Vec<u8>, MovieError> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut at = 0u64;
    while at < end {
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::with_capacity(16);
        file.by_ref().take(16).read_to_end(&mut bytes)?;
        let header = header(&bytes).ok_or_else(|| format("the box structure is damaged"))?;
        let start = at + header.header_len;
        let length = header.payload_len.unwrap_or(end.saturating_sub(start));
        if &header.kind == b"moov" {
            if length > MAX_MOOV {
                return Err(format("the index is larger than 64 MiB"));
            }
            file.seek(SeekFrom::Start(start))?;
            let mut moov = Vec::new();
            file.by_ref().take(length).read_to_end(&mut moov)?;
            return Ok(moov);
        }
        at = start
            .checked_add(length)
            .ok_or_else(|| format("the box structure is damaged"))?;
    }
    Err(format("no moov box: no MP4 file, or one that was cut off"))
}

/// Makes the clip out of the payload of `moov`.
pub(super) fn parse(moov: &[u8]) -> Result<Clip, MovieError> {
    let mut clip = Clip::default();
    let mut spans = Vec::new();
    let mut video = false;
    let mut audio = false;
    for (_, trak) in children(moov).filter(|(kind, _)| kind == b"trak") {
        let Some(table) = Table::read(trak, movie_timescale(moov)) else {
            continue;
        };
        let seen = if table.entry.nal_length > 0 {
            &mut video
        } else {
            &mut audio
        };
        // One picture and one sound; alternatives would only be sent for nothing.
        if std::mem::replace(seen, true) {
            continue;
        }
        let index = clip.description.tracks.len();
        if clip.samples.len() + table.samples.len() > MAX_SAMPLES {
            return Err(format("more than four million samples"));
        }
        spans.push(table.append_to(index, &mut clip.samples));
        clip.nal_lengths.push(table.entry.nal_length);
        clip.description.tracks.push(table.entry.track);
    }
    if clip.samples.is_empty() {
        return Err(format(if child(moov, b"mvex").is_some() {
            "fragmented MP4 is not supported; remux it: ffmpeg -i IN -c copy OUT.mp4"
        } else {
            "no track with H.264, H.265, AAC or Opus"
        }));
    }
    clip.finish(&spans);
    Ok(clip)
}

fn movie_timescale(moov: &[u8]) -> u32 {
    let read = || {
        let mut mvhd = Fields(child(moov, b"mvhd")?);
        let version = mvhd.version()?;
        mvhd.skip(if version == 1 { 16 } else { 8 })?;
        mvhd.u32()
    };
    read().unwrap_or(0)
}

/// One track's samples in its own timescale.
struct Table {
    entry: entry::Entry,
    timescale: u32,
    /// Added to all times: the edit list's start.
    shift: i64,
    samples: Vec<Raw>,
    end: i64,
}

struct Raw {
    offset: u64,
    size: u32,
    dts: i64,
    cts: i32,
    key: bool,
}

impl Table {
    fn read(trak: &[u8], movie_timescale: u32) -> Option<Self> {
        let mdia = child(trak, b"mdia")?;
        let timescale = media_timescale(child(mdia, b"mdhd")?)?;
        let stbl = descend(mdia, &[b"minf", b"stbl"])?;
        let mut entry = entry::read(child(stbl, b"stsd")?)?;
        if entry.track.clock_rate == 0 {
            entry.track.clock_rate = timescale;
        }
        let shift = edit_shift(trak, timescale, movie_timescale).unwrap_or(0);
        let mut samples = places(stbl)?;
        let end = times(stbl, &mut samples)?;
        keys(stbl, &mut samples);
        if matches!(entry.track.codec, Codec::G711(_)) {
            samples = merge(samples);
        }
        Some(Self {
            entry,
            timescale,
            shift,
            samples,
            end,
        })
    }

    /// Appends the samples in ticks of the RTP clock; tells the track's time in nanoseconds.
    fn append_to(&self, track: usize, out: &mut Vec<Sample>) -> Span {
        let clock = self.entry.track.clock_rate;
        let ticks = |time: i64| {
            let scaled = i128::from(time) * i128::from(clock) / i128::from(self.timescale);
            i64::try_from(scaled).unwrap_or(i64::MAX)
        };
        let nanos = |time: i64| to_nanos(time, self.timescale);
        let shifted = |time: i64| time.saturating_add(self.shift);
        out.extend(self.samples.iter().map(|raw| Sample {
            track,
            offset: raw.offset,
            size: raw.size,
            due: nanos(shifted(raw.dts)),
            pts: ticks(shifted(raw.dts.saturating_add(raw.cts.into()))),
            key: raw.key,
        }));
        Span {
            begin: nanos(shifted(self.samples.first().map_or(0, |s| s.dts))),
            end: nanos(shifted(self.end)),
        }
    }
}

/// G.711 has a sample per octet: neighbours are sent together.
fn merge(samples: Vec<Raw>) -> Vec<Raw> {
    let mut merged: Vec<Raw> = Vec::with_capacity(samples.len() / 100);
    for sample in samples {
        match merged.last_mut() {
            Some(last)
                if last.size < G711_OCTETS
                    && last.offset.checked_add(last.size.into()) == Some(sample.offset) =>
            {
                last.size = last.size.saturating_add(sample.size);
            }
            _ => merged.push(sample),
        }
    }
    merged
}

fn media_timescale(mdhd: &[u8]) -> Option<u32> {
    let mut fields = Fields(mdhd);
    let version = fields.version()?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    fields.u32().filter(|&timescale| timescale > 0)
}

/// Empty edits delay a track, the media time of the first other edit brings it forward
/// (8.6.6); anything that skips inside the media is not followed.
fn edit_shift(trak: &[u8], timescale: u32, movie_timescale: u32) -> Option<i64> {
    let mut elst = Fields(descend(trak, &[b"edts", b"elst"])?);
    let long = elst.version()? == 1;
    let mut delay = 0i64;
    for _ in 0..elst.u32()? {
        let (duration, media_time) = if long {
            (elst.u64()?, elst.i64()?)
        } else {
            (u64::from(elst.u32()?), i64::from(elst.i32()?))
        };
        elst.skip(4)?;
        if media_time >= 0 {
            return delay.checked_sub(media_time);
        }
        let scaled =
            u128::from(duration) * u128::from(timescale) / u128::from(movie_timescale.max(1));
        delay = delay.checked_add(i64::try_from(scaled).ok()?)?;
    }
    None
}

/// Where each sample lies: `stsz`, `stsc`, `stco` or `co64`.
fn places(stbl: &[u8]) -> Option<Vec<Raw>> {
    let mut stsz = Fields(child(stbl, b"stsz")?);
    stsz.version()?;
    let fixed = stsz.u32()?;
    let count = if fixed == 0 {
        stsz.count(4)?
    } else {
        usize::try_from(stsz.u32()?).ok()?
    };
    if count > MAX_SAMPLES {
        return None;
    }
    let mut sizes = std::iter::from_fn(|| if fixed == 0 { stsz.u32() } else { Some(fixed) });
    let chunks = chunk_offsets(stbl)?;
    let mut stsc = Fields(child(stbl, b"stsc")?);
    stsc.version()?;
    let mut runs = Vec::new();
    for _ in 0..stsc.count(12)? {
        runs.push((stsc.u32()?, stsc.u32()?));
        stsc.u32()?;
    }
    let mut samples = Vec::new();
    let mut runs = runs.into_iter().peekable();
    let mut per_chunk = 0;
    for (chunk, mut offset) in (1u32..).zip(chunks) {
        while let Some((_, count)) = runs.next_if(|(first, _)| *first <= chunk) {
            per_chunk = count;
        }
        for _ in 0..per_chunk {
            if samples.len() == count {
                return Some(samples);
            }
            let size = sizes.next()?;
            samples.push(Raw {
                offset,
                size,
                dts: 0,
                cts: 0,
                key: true,
            });
            offset = offset.checked_add(size.into())?;
        }
    }
    Some(samples)
}

fn chunk_offsets(stbl: &[u8]) -> Option<Vec<u64>> {
    let mut offsets = Vec::new();
    if let Some(stco) = child(stbl, b"stco") {
        let mut fields = Fields(stco);
        fields.version()?;
        for _ in 0..fields.count(4)? {
            offsets.push(u64::from(fields.u32()?));
        }
    } else {
        let mut fields = Fields(child(stbl, b"co64")?);
        fields.version()?;
        for _ in 0..fields.count(8)? {
            offsets.push(fields.u64()?);
        }
    }
    Some(offsets)
}

/// Decode times from `stts`, composition offsets from `ctts`; returns the end of the last sample.
/// Samples beyond the end of `stts` are dropped.
fn times(stbl: &[u8], samples: &mut Vec<Raw>) -> Option<i64> {
    let mut stts = Fields(child(stbl, b"stts")?);
    stts.version()?;
    let mut dts = 0i64;
    let mut timed = 0;
    'runs: for _ in 0..stts.count(8)? {
        let (count, delta) = (stts.u32()?, stts.u32()?);
        for _ in 0..count {
            let Some(sample) = samples.get_mut(timed) else {
                break 'runs;
            };
            sample.dts = dts;
            dts = dts.checked_add(delta.into())?;
            timed += 1;
        }
    }
    samples.truncate(timed);
    if let Some(ctts) = child(stbl, b"ctts") {
        let mut ctts = Fields(ctts);
        ctts.version()?;
        let mut rest = samples.iter_mut();
        'runs: for _ in 0..ctts.count(8)? {
            // Version 0 is unsigned by the book, but writers put signed values there, too.
            let (count, offset) = (ctts.u32()?, ctts.i32()?);
            for _ in 0..count {
                let Some(sample) = rest.next() else {
                    break 'runs;
                };
                sample.cts = offset;
            }
        }
    }
    Some(dts)
}

/// Marks key frames from `stss`; without that box every sample is one.
fn keys(stbl: &[u8], samples: &mut [Raw]) {
    let Some(stss) = child(stbl, b"stss") else {
        return;
    };
    for sample in samples.iter_mut() {
        sample.key = false;
    }
    let mut fields = Fields(stss);
    let count = fields.version().and_then(|_| fields.count(4)).unwrap_or(0);
    for _ in 0..count {
        let Some(number) = fields.u32() else { return };
        let index = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .wrapping_sub(1);
        if let Some(sample) = samples.get_mut(index) {
            sample.key = true;
        }
    }
}
