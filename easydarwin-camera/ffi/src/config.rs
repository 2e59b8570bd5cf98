//! What a camera is to run with, checked as it is set.

use std::time::Duration;

use bytes::Bytes;
use easydarwin_camera::control::CommandKind;
use easydarwin_camera::feedback::{BitrateRange, RateConfig};
use easydarwin_camera::frames::QueueConfig;
use easydarwin_camera::{Camera, CameraBuilder, PushTransport};
use easydarwin_core::client::ForeignTls;
use easydarwin_core::media::{
    G711Law, G726Packing, G726Params, G726Rate, H264Params, H265Params, MediaKind, Track,
    aac::AudioSpecificConfig, h264, h265, nal::split_annex_b,
};

use crate::abi::*;
use crate::callback::{Callback, EventFunction, LogFunction};
use crate::failure::Failure;
use crate::system::ThreadSettings;

/// Stack of the SDK's threads, in bytes. musl's own default of 128 KiB would be too little, glibc's
/// 8 MiB more than a small device wants to see reserved.
const STACK: usize = 256 << 10;
/// Bounds of a stack that is set.
const STACKS: std::ops::RangeInclusive<u32> = 128 << 10..=8 << 20;
/// Bytes of a stream's parameters; parameter sets have some dozens.
const EXTRA: usize = 64 << 10;
/// Characters that Linux keeps of a thread's name.
const NAME: usize = 15;
/// First of the payload types that mean what the description says (RFC 3551, 3).
const DYNAMIC_PAYLOAD_TYPE: u8 = 96;

/// One elementary stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamSettings {
    pub(crate) channel: u32,
    codec: i32,
    extra: Bytes,
    rate: u32,
    channels: u32,
    g726: G726Params,
    /// The small pictures of the channel's first video stream.
    sub: bool,
}

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Commands that the vendor answers; `None` for the usual ones.
    commands: Option<Vec<CommandKind>>,
    pub(crate) serial: String,
    pub(crate) name: String,
    pub(crate) tag: String,
    pub(crate) key: String,
    pub(crate) token: String,
    pub(crate) cms: Vec<String>,
    pub(crate) unproven_cms: bool,
    pub(crate) push_to: String,
    pub(crate) udp: bool,
    pub(crate) interface: String,
    pub(crate) streams: Vec<StreamSettings>,
    pub(crate) queue: QueueConfig,
    pub(crate) rate: Option<RateConfig>,
    pub(crate) thread: ThreadSettings,
    pub(crate) tls: Option<ForeignTls>,
    pub(crate) on_event: Option<Callback<EventFunction>>,
    pub(crate) on_log: Option<Callback<LogFunction>>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            commands: None,
            serial: String::new(),
            name: String::new(),
            tag: String::new(),
            key: String::new(),
            token: String::new(),
            cms: Vec::new(),
            unproven_cms: false,
            push_to: String::new(),
            udp: false,
            interface: String::new(),
            streams: Vec::new(),
            queue: QueueConfig::default(),
            rate: None,
            thread: ThreadSettings {
                name: "edc".to_owned(),
                nice: None,
                stack: STACK,
            },
            tls: None,
            on_event: None,
            on_log: None,
        }
    }

    /// Adds a stream and returns its number.
    pub(crate) fn add_stream(&mut self, channel: u32, codec: i32) -> Result<i32, Failure> {
        if !(1..=64).contains(&channel) {
            return Err(Failure::invalid("channels are numbered from 1 to 64"));
        }
        if self.streams.len() >= EDC_MAX_STREAMS as usize {
            return Err(Failure::new(EDC_ERR_FULL, "a camera has at most 8 streams"));
        }
        let mut stream = StreamSettings {
            channel,
            codec,
            extra: Bytes::new(),
            rate: 8_000,
            channels: 1,
            g726: G726Params {
                rate: G726Rate::Kbit32,
                packing: G726Packing::Rfc3551,
            },
            sub: false,
        };
        if codec == EDC_CODEC_OPUS {
            (stream.rate, stream.channels) = (48_000, 2);
        }
        if codec != EDC_CODEC_AAC {
            // AAC is checked when its parameters are known.
            stream.track(DYNAMIC_PAYLOAD_TYPE)?;
        }
        self.streams.push(stream);
        i32::try_from(self.streams.len() - 1).map_err(|_| EDC_ERR_FULL.into())
    }

    /// Adds the sub stream of a channel and returns its number.
    pub(crate) fn add_sub_stream(&mut self, channel: u32) -> Result<i32, Failure> {
        let mut own = self
            .streams
            .iter()
            .filter(|stream| stream.channel == channel);
        if own.clone().any(|stream| stream.sub) {
            return Err(Failure::invalid("a channel has one sub stream"));
        }
        let main = own.find(|stream| stream.is_video());
        let codec = main.map(|stream| stream.codec).ok_or_else(|| {
            Failure::invalid("the sub stream is of a video stream that was added before")
        })?;
        let number = self.add_stream(channel, codec)?;
        self.stream(number)?.sub = true;
        Ok(number)
    }

    pub(crate) fn set_extra(&mut self, stream: i32, extra: &[u8]) -> Result<(), Failure> {
        if extra.len() > EXTRA {
            return Err(Failure::invalid("parameters have at most 64 KiB"));
        }
        let stream = self.stream(stream)?;
        let before = std::mem::replace(&mut stream.extra, Bytes::copy_from_slice(extra));
        let checked = stream.track(DYNAMIC_PAYLOAD_TYPE);
        if checked.is_err() {
            stream.extra = before;
        }
        checked.map(|_| ())
    }

    pub(crate) fn set_audio(
        &mut self,
        stream: i32,
        rate: u32,
        channels: u32,
    ) -> Result<(), Failure> {
        let stream = self.stream(stream)?;
        let before = (stream.rate, stream.channels);
        (stream.rate, stream.channels) = (rate, channels);
        let checked = stream.track(DYNAMIC_PAYLOAD_TYPE);
        if checked.is_err() {
            (stream.rate, stream.channels) = before;
        }
        checked.map(|_| ())
    }

    pub(crate) fn set_g726(&mut self, stream: i32, rate: u32, packing: i32) -> Result<(), Failure> {
        let rate = match rate {
            16_000 => G726Rate::Kbit16,
            24_000 => G726Rate::Kbit24,
            32_000 => G726Rate::Kbit32,
            40_000 => G726Rate::Kbit40,
            _ => {
                return Err(Failure::invalid(
                    "G.726 has 16000, 24000, 32000 or 40000 bit/s",
                ));
            }
        };
        let packing = match packing {
            EDC_G726_RFC3551 => G726Packing::Rfc3551,
            EDC_G726_AAL2 => G726Packing::Aal2,
            _ => return Err(Failure::invalid("no such packing")),
        };
        self.stream(stream)?.g726 = G726Params { rate, packing };
        Ok(())
    }

    pub(crate) fn set_thread(
        &mut self,
        name: &str,
        nice: Option<i32>,
        stack: u32,
    ) -> Result<(), Failure> {
        if name.is_empty() || name.len() > NAME {
            return Err(Failure::invalid("a thread's name has 1 to 15 bytes"));
        }
        let stack = match stack {
            0 => STACK,
            bytes if STACKS.contains(&bytes) => bytes as usize,
            _ => return Err(Failure::invalid("a stack has 128 KiB to 8 MiB")),
        };
        self.thread = ThreadSettings {
            name: name.to_owned(),
            nice,
            stack,
        };
        Ok(())
    }

    pub(crate) fn set_queue(&mut self, video: u32, audio: u32) -> Result<(), Failure> {
        if !(64 << 10..=1 << 30).contains(&video) || !(4 << 10..=1 << 26).contains(&audio) {
            return Err(Failure::invalid(
                "a video queue has 64 KiB to 1 GiB, an audio queue 4 KiB to 64 MiB",
            ));
        }
        self.queue.video_bytes = video as usize;
        self.queue.audio_bytes = audio as usize;
        Ok(())
    }

    pub(crate) fn set_latency(&mut self, max_ms: u32, pre_roll_ms: u32) -> Result<(), Failure> {
        if !(100..=60_000).contains(&max_ms) || pre_roll_ms > 60_000 {
            return Err(Failure::invalid(
                "the longest latency is 100 to 60000 ms, the pre-roll up to 60000 ms",
            ));
        }
        self.queue.max_latency = Duration::from_millis(max_ms.into());
        self.queue.pre_roll = Duration::from_millis(pre_roll_ms.into());
        Ok(())
    }

    pub(crate) fn set_bitrate(&mut self, min: u32, max: u32, start: u32) -> Result<(), Failure> {
        if min == 0 || !(min..=max).contains(&start) {
            return Err(Failure::invalid("0 < min <= start <= max"));
        }
        let rate = self.rate.get_or_insert_default();
        rate.main = BitrateRange { min, max };
        rate.start = start;
        Ok(())
    }

    /// `commands` are EDC_COMMAND_... bits.
    pub(crate) fn set_commands(&mut self, commands: i32) -> Result<(), Failure> {
        let kinds = [
            (EDC_COMMAND_PTZ, CommandKind::Ptz),
            (EDC_COMMAND_PRESET, CommandKind::Preset),
            (EDC_COMMAND_TALKBACK, CommandKind::Talkback),
            (EDC_COMMAND_REBOOT, CommandKind::Reboot),
            (EDC_COMMAND_CONFIG, CommandKind::Config),
            (EDC_COMMAND_SNAPSHOT, CommandKind::Snapshot),
        ];
        let known = kinds.iter().fold(0, |bits, (bit, _)| bits | bit);
        if commands & !known != 0 {
            return Err(Failure::invalid("an unknown kind of command"));
        }
        let chosen = kinds.into_iter().filter(|(bit, _)| commands & bit != 0);
        self.commands = Some(chosen.map(|(_, kind)| kind).collect());
        Ok(())
    }

    pub(crate) fn set_sub_bitrate(&mut self, min: u32, max: u32) -> Result<(), Failure> {
        if min == 0 || min > max {
            return Err(Failure::invalid("0 < min <= max"));
        }
        self.rate.get_or_insert_default().sub = Some(BitrateRange { min, max });
        Ok(())
    }

    /// Whether the vendor takes pictures when he is asked.
    pub(crate) fn takes_snapshots(&self) -> bool {
        let commands = self.commands.as_deref().unwrap_or_default();
        commands.contains(&CommandKind::Snapshot)
    }

    /// The channels with their streams' numbers, in the order in which they were added, but the sub
    /// stream last.
    pub(crate) fn channels(&self) -> Vec<(u32, Vec<u8>)> {
        let mut channels: Vec<(u32, Vec<u8>)> = Vec::new();
        for subs in [false, true] {
            for (number, stream) in (0u8..).zip(&self.streams) {
                if stream.sub != subs {
                    continue;
                }
                match channels.iter_mut().find(|(of, _)| *of == stream.channel) {
                    Some((_, streams)) => streams.push(number),
                    None => channels.push((stream.channel, vec![number])),
                }
            }
        }
        channels
    }

    /// Bounds of a channel's queue.
    pub(crate) fn queue(&self, channel: u32) -> QueueConfig {
        let mut queue = self.queue.clone();
        let mut own = self
            .streams
            .iter()
            .filter(|stream| stream.channel == channel);
        queue.sub_stream = own.any(|stream| stream.sub);
        queue
    }

    /// Descriptions of these streams without the sub stream; payload types differ within a channel.
    pub(crate) fn tracks(&self, streams: &[u8]) -> Result<Vec<Track>, Failure> {
        (DYNAMIC_PAYLOAD_TYPE..)
            .zip(streams)
            .filter_map(|(payload_type, number)| {
                let stream = self.streams.get(usize::from(*number))?;
                (!stream.sub).then(|| stream.track(payload_type))
            })
            .collect()
    }

    /// A camera without its frames.
    pub(crate) fn builder(&self) -> CameraBuilder {
        let mut builder = Camera::builder()
            .serial(&self.serial)
            .name(&self.name)
            .tag(&self.tag)
            .unproven_cms(self.unproven_cms)
            .tls_stack(self.tls.clone())
            .transport(if self.udp {
                PushTransport::Udp
            } else {
                PushTransport::Tcp
            });
        for cms in &self.cms {
            builder = builder.cms(cms);
        }
        if !self.key.is_empty() {
            builder = builder.key(&self.key);
        } else if !self.token.is_empty() {
            builder = builder.token(&self.token);
        }
        if let Some(rate) = self.rate {
            builder = builder.rate(RateConfig {
                max_latency: self.queue.max_latency,
                ..rate
            });
        }
        if let Some(commands) = &self.commands {
            builder = builder.supports(commands.iter().copied());
        }
        if !self.interface.is_empty() {
            builder = builder.interface(&self.interface);
        }
        if !self.push_to.is_empty() {
            builder = builder.push_to(&self.push_to);
        }
        builder
    }

    fn stream(&mut self, stream: i32) -> Result<&mut StreamSettings, Failure> {
        usize::try_from(stream)
            .ok()
            .and_then(|number| self.streams.get_mut(number))
            .ok_or_else(|| Failure::invalid("no stream of this number was added"))
    }
}

impl StreamSettings {
    fn is_video(&self) -> bool {
        matches!(
            self.codec,
            EDC_CODEC_H264 | EDC_CODEC_H265 | EDC_CODEC_MJPEG
        )
    }

    fn track(&self, payload_type: u8) -> Result<Track, Failure> {
        let track = match self.codec {
            EDC_CODEC_H264 => Track::h264(payload_type, h264_params(&self.extra)),
            EDC_CODEC_H265 => Track::h265(payload_type, h265_params(&self.extra)),
            EDC_CODEC_AAC => return self.aac(payload_type),
            EDC_CODEC_G711A => Track::g711(G711Law::A),
            EDC_CODEC_G711U => Track::g711(G711Law::Mu),
            EDC_CODEC_OPUS => Track::opus(payload_type),
            EDC_CODEC_MJPEG => Track::jpeg(),
            EDC_CODEC_G726 => Track::g726(payload_type, self.g726),
            codec => return Err(Failure::unsupported(format!("codec {codec}"))),
        };
        if track.kind == MediaKind::Audio
            && (self.rate, self.channels) != (track.clock_rate, track.channels.into())
        {
            return Err(Failure::unsupported(
                "this codec has one rate and number of channels",
            ));
        }
        Ok(track)
    }

    fn aac(&self, payload_type: u8) -> Result<Track, Failure> {
        let config = if self.extra.is_empty() {
            AudioSpecificConfig {
                object_type: 2,
                sample_rate: self.rate,
                channels: u8::try_from(self.channels)
                    .ok()
                    .filter(|channels| (1..=6).contains(channels))
                    .ok_or_else(|| Failure::unsupported("AAC has 1 to 6 channels here"))?,
                frame_length: 1024,
            }
        } else {
            AudioSpecificConfig::parse(&self.extra)
                .map_err(|error| Failure::invalid(format!("AudioSpecificConfig: {error}")))?
        };
        Ok(Track::aac(
            payload_type,
            config.sample_rate,
            config.channels.into(),
            config.to_bytes(),
        ))
    }
}

fn h264_params(extra: &Bytes) -> H264Params {
    let mut params = H264Params::default();
    for nal in split_annex_b(extra) {
        match h264::nal_type(&nal) {
            Some(h264::NAL_SPS) => params.sps = Some(nal),
            Some(h264::NAL_PPS) => params.pps.push(nal),
            _ => {}
        }
    }
    params
}

fn h265_params(extra: &Bytes) -> H265Params {
    let mut params = H265Params::default();
    for nal in split_annex_b(extra) {
        match h265::nal_type(&nal) {
            Some(h265::NAL_VPS) => params.vps = Some(nal),
            Some(h265::NAL_SPS) => params.sps = Some(nal),
            Some(h265::NAL_PPS) => params.pps.push(nal),
            _ => {}
        }
    }
    params
}
