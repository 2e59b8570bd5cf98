//! The only place that knows `mp4-atom`: formats and samples in, boxes out.

use bytes::Bytes;
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Audio, Avc1, Avcc, AvccExt, Codec, Dinf, Dops, Dref, DrefEntry, Encode, Esds, Ftyp, Hdlr, Hvc1,
    HvcCArray, Hvcc, Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stsd,
    Styp, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry, TrunSamples, Url, Visual, Vmhd,
};
use thiserror::Error;

use super::format::Format;
use super::sample::Sample;
use crate::media::{h264, h265};

/// `sample_depends_on = 2`: an intra picture, or audio.
const SAMPLE_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const SAMPLE_DELTA: u32 = 0x0101_0000;
/// Ticks per second of the movie header; only durations of 0 are told in it.
const MOVIE_TIMESCALE: u32 = 1000;
/// Bytes of a box header with 32-bit size.
const BOX_HEADER: usize = 8;

/// Something that does not fit into an MP4 box.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BoxError {
    /// A field is too small for the value.
    #[error("{0} does not fit into its MP4 field")]
    TooLarge(&'static str),
    /// The box library refused.
    #[error("MP4 box cannot be written: {0}")]
    Encode(String),
}

impl From<mp4_atom::Error> for BoxError {
    fn from(error: mp4_atom::Error) -> Self {
        Self::Encode(error.to_string())
    }
}

/// One track of an init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackEntry {
    pub(crate) id: u32,
    pub(crate) timescale: u32,
    pub(crate) format: Format,
}

/// Consecutive samples of one track.
#[derive(Debug)]
pub(crate) struct TrackRun<'a> {
    pub(crate) id: u32,
    pub(crate) samples: &'a [Sample],
}

/// `ftyp` and `moov` (ISO/IEC 14496-12, CMAF header).
pub(crate) fn init_segment(tracks: &[TrackEntry]) -> Result<Bytes, BoxError> {
    let mut out = Vec::with_capacity(1024);
    Ftyp {
        major_brand: b"iso5".into(),
        minor_version: 512,
        compatible_brands: vec![b"iso5".into(), b"iso6".into(), b"mp41".into()],
    }
    .encode(&mut out)?;
    let trak = tracks.iter().map(trak).collect::<Result<_, _>>()?;
    Moov {
        mvhd: Mvhd {
            timescale: MOVIE_TIMESCALE,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: tracks.iter().map(|t| t.id).max().unwrap_or(0) + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: tracks.iter().map(trex).collect(),
        }),
        trak,
        ..Moov::default()
    }
    .encode(&mut out)?;
    Ok(out.into())
}

/// `styp`, the mark at the start of an HLS segment.
pub(crate) fn segment_type() -> Result<Vec<u8>, BoxError> {
    let mut out = Vec::new();
    Styp {
        major_brand: b"msdh".into(),
        minor_version: 0,
        compatible_brands: vec![b"msdh".into(), b"msix".into()],
    }
    .encode(&mut out)?;
    Ok(out)
}

/// `moof` and `mdat` with one run per track, appended to `out`. Runs without samples are skipped.
pub(crate) fn fragment(
    sequence_number: u32,
    runs: &[TrackRun<'_>],
    out: &mut Vec<u8>,
) -> Result<(), BoxError> {
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number },
        traf: Vec::with_capacity(runs.len()),
    };
    let mut payload = 0usize;
    for run in runs.iter().filter(|run| !run.samples.is_empty()) {
        moof.traf.push(traf(run, payload)?);
        payload += run.samples.iter().map(Sample::size).sum::<usize>();
    }
    let start = out.len();
    moof.encode(out)?;
    // The offsets count from the start of the moof, whose size is known only now; it does not
    // depend on their values.
    let header = i32::try_from(out.len() - start + BOX_HEADER)
        .map_err(|_| BoxError::TooLarge("fragment header"))?;
    for traf in &mut moof.traf {
        for trun in &mut traf.trun {
            trun.data_offset = trun
                .data_offset
                .map(|offset| {
                    offset
                        .checked_add(header)
                        .ok_or(BoxError::TooLarge("data offset"))
                })
                .transpose()?;
        }
    }
    out.truncate(start);
    moof.encode(out)?;

    let size = u32::try_from(payload + BOX_HEADER).map_err(|_| BoxError::TooLarge("media data"))?;
    out.reserve(payload + BOX_HEADER);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(b"mdat");
    for sample in runs.iter().flat_map(|run| run.samples) {
        sample.write(out)?;
    }
    Ok(())
}

fn traf(run: &TrackRun<'_>, offset: usize) -> Result<Traf, BoxError> {
    let entries = run
        .samples
        .iter()
        .map(|sample| {
            Ok(TrunEntry {
                duration: Some(sample.duration),
                size: Some(u32::try_from(sample.size()).map_err(|_| BoxError::TooLarge("sample"))?),
                flags: Some(if sample.key {
                    SAMPLE_SYNC
                } else {
                    SAMPLE_DELTA
                }),
                cts: Some(sample.cts.into()),
            })
        })
        .collect::<Result<Vec<_>, BoxError>>()?;
    Ok(Traf {
        tfhd: Tfhd {
            track_id: run.id,
            default_base_is_moof: true,
            ..Tfhd::default()
        },
        tfdt: Some(Tfdt {
            base_media_decode_time: run.samples.first().map_or(0, |sample| sample.dts),
        }),
        trun: vec![Trun {
            data_offset: Some(
                i32::try_from(offset).map_err(|_| BoxError::TooLarge("data offset"))?,
            ),
            samples: TrunSamples::Explicit(entries),
        }],
        ..Traf::default()
    })
}

fn trex(track: &TrackEntry) -> Trex {
    Trex {
        track_id: track.id,
        default_sample_description_index: 1,
        ..Trex::default()
    }
}

fn trak(track: &TrackEntry) -> Result<Trak, BoxError> {
    let video = track.format.dimensions();
    let (width, height) = match video {
        Some((width, height)) => (pixels(width)?, pixels(height)?),
        None => (0, 0),
    };
    Ok(Trak {
        tkhd: Tkhd {
            track_id: track.id,
            enabled: true,
            in_movie: true,
            volume: if video.is_some() { 0 } else { 1 }.into(),
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: track.timescale,
                language: "und".to_owned(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: if video.is_some() { b"vide" } else { b"soun" }.into(),
                name: if video.is_some() { "video" } else { "audio" }.to_owned(),
            },
            minf: Minf {
                vmhd: video.map(|_| Vmhd::default()),
                smhd: video.is_none().then(Smhd::default),
                dinf: Dinf {
                    dref: Dref {
                        entries: vec![DrefEntry::Url(Url::default())],
                    },
                },
                stbl: Stbl {
                    stsd: Stsd {
                        codecs: vec![sample_entry(track)?],
                    },
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    })
}

fn sample_entry(track: &TrackEntry) -> Result<Codec, BoxError> {
    Ok(match &track.format {
        Format::Avc { sps, pps, info } => Codec::Avc1(Avc1 {
            visual: visual(info.width, info.height)?,
            avcc: avcc(sps, pps, info),
            btrt: None,
            colr: None,
            pasp: None,
            taic: None,
            fiel: None,
            spatial: None,
        }),
        Format::Hevc {
            vps,
            sps,
            pps,
            info,
        } => Codec::Hvc1(Hvc1 {
            visual: visual(info.width, info.height)?,
            hvcc: hvcc(vps, sps, pps, info),
            ..Hvc1::default()
        }),
        Format::Aac { config, info } => Codec::Mp4a(Mp4a {
            audio: audio(info.channels, info.sample_rate),
            esds: Esds {
                es_desc: es_descriptor(config),
            },
            btrt: None,
            taic: None,
        }),
        Format::Opus { channels } => Codec::Opus(Opus {
            audio: audio(*channels, track.timescale),
            dops: Dops {
                output_channel_count: *channels,
                pre_skip: 0,
                input_sample_rate: track.timescale,
                output_gain: 0,
                channel_mapping: None,
            },
            btrt: None,
        }),
    })
}

fn visual(width: u32, height: u32) -> Result<Visual, BoxError> {
    Ok(Visual {
        data_reference_index: 1,
        width: pixels(width)?,
        height: pixels(height)?,
        ..Visual::default()
    })
}

fn audio(channels: u8, sample_rate: u32) -> Audio {
    Audio {
        data_reference_index: 1,
        // A program config element tells the channels (0); players read it themselves.
        channel_count: channels.max(1).into(),
        sample_size: 16,
        // 16.16 fixed point: rates above 65535 Hz are told by the codec's own configuration.
        sample_rate: u16::try_from(sample_rate).unwrap_or(0).into(),
    }
}

fn pixels(value: u32) -> Result<u16, BoxError> {
    u16::try_from(value).map_err(|_| BoxError::TooLarge("picture size"))
}

/// ISO/IEC 14496-15, 5.3.3.1.
fn avcc(sps: &Bytes, pps: &[Bytes], info: &h264::Sps) -> Avcc {
    // The profiles whose SPS has the chroma format carry it here too.
    let extended = !matches!(info.profile_idc, 66 | 77 | 88);
    Avcc {
        configuration_version: 1,
        avc_profile_indication: info.profile_idc,
        profile_compatibility: info.constraint_flags,
        avc_level_indication: info.level_idc,
        length_size: 4,
        sequence_parameter_sets: vec![sps.to_vec()],
        picture_parameter_sets: pps.iter().map(|nal| nal.to_vec()).collect(),
        ext: extended.then(|| AvccExt {
            chroma_format: info.chroma_format_idc,
            bit_depth_luma: info.bit_depth_luma,
            bit_depth_chroma: info.bit_depth_chroma,
            sequence_parameter_sets_ext: Vec::new(),
        }),
    }
}

/// ISO/IEC 14496-15, 8.3.3.1.
fn hvcc(vps: &Bytes, sps: &Bytes, pps: &[Bytes], info: &h265::Sps) -> Hvcc {
    let array = |nal_unit_type, nalus: Vec<Vec<u8>>| HvcCArray {
        completeness: true,
        nal_unit_type,
        nalus,
    };
    Hvcc {
        general_profile_space: info.profile_space,
        general_tier_flag: info.high_tier,
        general_profile_idc: info.profile_idc,
        general_profile_compatibility_flags: info.profile_compatibility.to_be_bytes(),
        general_constraint_indicator_flags: info.constraint_flags,
        general_level_idc: info.level_idc,
        chroma_format_idc: info.chroma_format_idc,
        bit_depth_luma_minus8: info.bit_depth_luma.saturating_sub(8),
        bit_depth_chroma_minus8: info.bit_depth_chroma.saturating_sub(8),
        num_temporal_layers: info.temporal_layers,
        temporal_id_nested: info.temporal_id_nested,
        length_size_minus_one: 3,
        arrays: vec![
            array(h265::NAL_VPS, vec![vps.to_vec()]),
            array(h265::NAL_SPS, vec![sps.to_vec()]),
            array(h265::NAL_PPS, pps.iter().map(|nal| nal.to_vec()).collect()),
        ],
        ..Hvcc::new()
    }
}

/// ISO/IEC 14496-14, 3.1.2: MPEG-4 audio (0x40) in an audio stream (5).
fn es_descriptor(config: &Bytes) -> EsDescriptor {
    EsDescriptor {
        es_id: 0,
        depends_on_es_id: None,
        url: None,
        ocr_es_id: None,
        stream_priority: 0,
        dec_config: DecoderConfig {
            object_type_indication: 0x40,
            stream_type: 5,
            up_stream: 0,
            buffer_size_db: Default::default(),
            max_bitrate: 0,
            avg_bitrate: 0,
            dec_specific: Some(DecoderSpecific {
                raw: config.to_vec(),
                ..DecoderSpecific::default()
            }),
        },
        sl_config: SLConfig::default(),
    }
}
