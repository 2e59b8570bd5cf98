//! What one packet costs before it reaches a reader, and what an access unit costs a tap or a
//! publisher: reading the header, looking into the payload, putting access units together, making
//! packets. The packets are those of a real clip.
#![allow(missing_docs, clippy::unwrap_used)] // criterion_group!; a bench may stop at an error

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use easydarwin_core::media::{AccessUnit, H264Params, H265Params, Track, h264, h265, nal};
use easydarwin_core::rtp::{
    Depacketizer, Inspector, MediaPacket, PacketRun, Packetizer, PacketizerConfig, RtpPacket,
};

struct Clip {
    name: &'static str,
    track: Track,
    units: Vec<AccessUnit>,
    packets: Vec<Vec<u8>>,
}

impl Clip {
    /// `slices`: of each picture of the clip.
    fn new(name: &'static str, track: Track, stream: &'static [u8], slices: usize) -> Self {
        let is_vcl = |nal: &[u8]| match name {
            "h264" => h264::nal_type(nal).is_some_and(h264::is_vcl),
            _ => h265::nal_type(nal).is_some_and(h265::is_vcl),
        };
        let mut units = Vec::new();
        let mut data = Vec::new();
        let mut seen = 0;
        for nal in nal::split_annex_b(&Bytes::from_static(stream)) {
            seen += usize::from(is_vcl(&nal));
            data.push(nal);
            if seen == slices {
                units.push(AccessUnit {
                    track: 0,
                    pts: i64::try_from(units.len()).unwrap() * 3600,
                    arrival: Instant::now(),
                    ntp: None,
                    key: units.is_empty(),
                    discontinuity: false,
                    lossy: false,
                    data: std::mem::take(&mut data),
                });
                seen = 0;
            }
        }
        let mut clip = Self {
            name,
            track,
            units,
            packets: Vec::new(),
        };
        let mut run = PacketRun::new();
        clip.packetize(&mut run);
        clip.packets = run.packets().map(<[u8]>::to_vec).collect();
        clip
    }

    fn all() -> [Self; 2] {
        [
            Self::new(
                "h264",
                Track::h264(96, H264Params::default()),
                include_bytes!("../../testdata/bbb.h264"),
                1,
            ),
            Self::new(
                "h265",
                Track::h265(96, H265Params::default()),
                include_bytes!("../../testdata/slices.h265"),
                3,
            ),
        ]
    }

    fn bytes(&self) -> u64 {
        self.packets.iter().map(|p| p.len() as u64).sum()
    }

    fn packetize(&self, run: &mut PacketRun) {
        let mut packetizer = Packetizer::new(&self.track, PacketizerConfig::default());
        for unit in &self.units {
            let time = u32::try_from(unit.pts).unwrap();
            packetizer.packetize(unit, time, run).unwrap();
        }
    }
}

fn bench(c: &mut Criterion) {
    for clip in Clip::all() {
        let mut group = c.benchmark_group(clip.name);
        group.throughput(Throughput::Bytes(clip.bytes()));

        group.bench_function("parse", |b| {
            b.iter(|| {
                for packet in &clip.packets {
                    let packet = RtpPacket::parse(black_box(packet)).unwrap();
                    black_box((packet.sequence(), packet.timestamp(), packet.payload()));
                }
            });
        });

        group.bench_function("inspect", |b| {
            let mut inspector = Inspector::new(&clip.track);
            b.iter(|| {
                for packet in &clip.packets {
                    let packet = RtpPacket::parse(black_box(packet)).unwrap();
                    black_box(inspector.inspect(packet.payload()));
                }
            });
        });

        group.bench_function("depacketize", |b| {
            let arrival = Instant::now();
            b.iter(|| {
                let mut depacketizer = Depacketizer::new(0, &clip.track);
                let mut units = 0;
                for packet in &clip.packets {
                    let packet = RtpPacket::parse(black_box(packet)).unwrap();
                    depacketizer
                        .push(MediaPacket {
                            payload: packet.payload(),
                            marker: packet.marker(),
                            timestamp: i64::from(packet.timestamp()),
                            arrival,
                            ntp: None,
                            lost_before: false,
                        })
                        .unwrap();
                    while let Some(unit) = depacketizer.pop() {
                        black_box(unit);
                        units += 1;
                    }
                }
                assert_eq!(units, clip.units.len());
            });
        });

        group.bench_function("packetize", |b| {
            let mut run = PacketRun::new();
            b.iter(|| {
                run.clear();
                clip.packetize(&mut run);
                black_box(run.interleaved());
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
