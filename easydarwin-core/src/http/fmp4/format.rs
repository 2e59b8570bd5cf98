use bytes::Bytes;

use crate::media::aac::AudioSpecificConfig;
use crate::media::{
    AccessUnit, BitstreamError, Codec, H264Params, H265Params, MediaKind, Track, h264, h265,
};

/// What a sample entry says about a track; two equal formats share an init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// H.264 with its parameter sets out of band (`avc1`).
    Avc {
        sps: Bytes,
        pps: Vec<Bytes>,
        info: h264::Sps,
    },
    /// H.265 with its parameter sets out of band (`hvc1`).
    Hevc {
        vps: Bytes,
        sps: Bytes,
        pps: Vec<Bytes>,
        info: h265::Sps,
    },
    /// AAC with its AudioSpecificConfig (`mp4a`).
    Aac {
        config: Bytes,
        info: AudioSpecificConfig,
    },
    /// Opus (`Opus`).
    Opus { channels: u8 },
}

impl Format {
    /// The codec string of RFC 6381.
    pub(crate) fn codec_string(&self) -> String {
        match self {
            Self::Avc { info, .. } => info.codec_string(),
            Self::Hevc { info, .. } => info.codec_string(),
            Self::Aac { info, .. } => info.codec_string(),
            Self::Opus { .. } => "opus".to_owned(),
        }
    }

    /// Width and height in pixels of video.
    pub(crate) fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Self::Avc { info, .. } => Some((info.width, info.height)),
            Self::Hevc { info, .. } => Some((info.width, info.height)),
            Self::Aac { .. } | Self::Opus { .. } => None,
        }
    }

    /// Pictures that may be held back for reordering; what H.264 does not say is taken for 2.
    pub(crate) fn reorder_depth(&self) -> usize {
        /// Enough for the usual pyramid of B pictures; the estimator grows it when it is not.
        const UNTOLD: u8 = 2;
        match self {
            Self::Avc { info, .. } => info.max_num_reorder_frames.unwrap_or(UNTOLD).into(),
            Self::Hevc { info, .. } => info.max_num_reorder_pics.into(),
            Self::Aac { .. } | Self::Opus { .. } => 0,
        }
    }

    /// Time of a frame in ticks of the clock, if the stream tells.
    pub(crate) fn frame_ticks(&self, clock_rate: u32) -> Option<i64> {
        match self {
            Self::Avc { info, .. } => info.frame_ticks(clock_rate),
            Self::Hevc { info, .. } => info.frame_ticks(clock_rate),
            Self::Aac { info, .. } => {
                let ticks = i64::from(info.frame_length) * i64::from(clock_rate);
                Some(ticks / i64::from(info.sample_rate.max(1)))
            }
            Self::Opus { .. } => None,
        }
    }

    /// Whether it is one of the parameter sets that the sample entry already holds, or a
    /// delimiter, which `avc1` and `hvc1` samples do without.
    pub(crate) fn is_redundant(&self, nal: &Bytes) -> bool {
        match self {
            Self::Avc { sps, pps, .. } => {
                h264::nal_type(nal) == Some(h264::NAL_AUD) || nal == sps || pps.contains(nal)
            }
            Self::Hevc { vps, sps, pps, .. } => {
                h265::nal_type(nal) == Some(h265::NAL_AUD)
                    || nal == vps
                    || nal == sps
                    || pps.contains(nal)
            }
            Self::Aac { .. } | Self::Opus { .. } => false,
        }
    }
}

/// A track's codec with the newest parameter sets, from the description and from the stream.
#[derive(Debug, Clone)]
pub(crate) struct FormatReader {
    codec: Codec,
    channels: u16,
    format: Option<Format>,
}

impl FormatReader {
    /// A reader for a track that MP4 and browsers can carry; `None` for all others.
    pub(crate) fn new(track: &Track) -> Option<Self> {
        let carried = matches!(
            (&track.kind, &track.codec),
            (MediaKind::Video, Codec::H264(_) | Codec::H265(_))
                | (MediaKind::Audio, Codec::Aac(_) | Codec::Opus)
        );
        if !carried || track.clock_rate == 0 {
            return None;
        }
        let mut reader = Self {
            codec: track.codec.clone(),
            channels: track.channels,
            format: None,
        };
        reader.rebuild();
        Some(reader)
    }

    /// The format, once all parameter sets are known and readable.
    pub(crate) fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// Takes the parameter sets that came inside an access unit.
    pub(crate) fn update(&mut self, unit: &AccessUnit) {
        let changed = match &mut self.codec {
            Codec::H264(params) => take_h264(params, &unit.data),
            Codec::H265(params) => take_h265(params, &unit.data),
            _ => false,
        };
        if changed {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        self.format = match build(&self.codec, self.channels) {
            Ok(format) => format,
            Err(error) => {
                tracing::debug!(%error, "parameter sets cannot be read; waiting for others");
                None
            }
        };
    }
}

fn build(codec: &Codec, channels: u16) -> Result<Option<Format>, BitstreamError> {
    Ok(match codec {
        Codec::H264(H264Params {
            sps: Some(sps),
            pps,
        }) if !pps.is_empty() => Some(Format::Avc {
            info: h264::Sps::parse(sps)?,
            sps: sps.clone(),
            pps: pps.clone(),
        }),
        Codec::H265(H265Params {
            vps: Some(vps),
            sps: Some(sps),
            pps,
        }) if !pps.is_empty() => Some(Format::Hevc {
            info: h265::Sps::parse(sps)?,
            vps: vps.clone(),
            sps: sps.clone(),
            pps: pps.clone(),
        }),
        Codec::Aac(params) => Some(Format::Aac {
            info: AudioSpecificConfig::parse(&params.config)?,
            config: params.config.clone(),
        }),
        Codec::Opus => Some(Format::Opus {
            channels: u8::try_from(channels.clamp(1, 2)).unwrap_or(2),
        }),
        _ => None,
    })
}

/// An access unit with an SPS brings its own PPSs; one with only PPSs replaces those known.
fn take_h264(params: &mut H264Params, nals: &[Bytes]) -> bool {
    let of = |kind| move |nal: &&Bytes| h264::nal_type(nal) == Some(kind);
    let sps = nals.iter().find(of(h264::NAL_SPS));
    let pps: Vec<_> = nals.iter().filter(of(h264::NAL_PPS)).cloned().collect();
    replace(&mut params.sps, sps) | replace_all(&mut params.pps, pps)
}

fn take_h265(params: &mut H265Params, nals: &[Bytes]) -> bool {
    let of = |kind| move |nal: &&Bytes| h265::nal_type(nal) == Some(kind);
    let vps = nals.iter().find(of(h265::NAL_VPS));
    let sps = nals.iter().find(of(h265::NAL_SPS));
    let pps: Vec<_> = nals.iter().filter(of(h265::NAL_PPS)).cloned().collect();
    replace(&mut params.vps, vps)
        | replace(&mut params.sps, sps)
        | replace_all(&mut params.pps, pps)
}

fn replace(known: &mut Option<Bytes>, new: Option<&Bytes>) -> bool {
    match new {
        Some(new) if known.as_ref() != Some(new) => {
            *known = Some(new.clone());
            true
        }
        _ => false,
    }
}

fn replace_all(known: &mut Vec<Bytes>, new: Vec<Bytes>) -> bool {
    if new.is_empty() || *known == new {
        return false;
    }
    *known = new;
    true
}
