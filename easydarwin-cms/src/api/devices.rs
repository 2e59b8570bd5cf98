//! Lists of devices, and one device.

use std::collections::HashMap;
use std::sync::Arc;

use easydarwin_core::protocol::{
    AppType, Envelope, ErrorNum, Fields, MessageType, StreamRef, TerminalType,
};
use easydarwin_core::registry::{
    DeviceQuery, DeviceSort, GroupPath, PresenceEntry, StoreError, StreamLocation, StreamPath,
};
use serde_json::{Value, json};

use super::answer::{Answer, Caller};
use super::query::Query;
use crate::access::Access;
use crate::devices::{DeviceInfo, Session};
use crate::state::State;

/// The devices that are online, as the original lists them; with `status=all` or
/// `status=offline` also or only those that are not, each with its `Status`.
pub(super) async fn list(state: &State, caller: &Caller, query: &Query, cseq: &str) -> Answer {
    let kind = MessageType::DeviceListAck;
    let (online, offline) = match query.get("status") {
        None | Some("online") => (true, false),
        Some("offline") => (false, true),
        Some("all") => (true, true),
        Some(_) => {
            let mut envelope = Envelope::answer(kind, cseq, ErrorNum::BAD_REQUEST);
            let reason = "status is one of online, offline, all";
            envelope.body.set("Reason", reason);
            return Answer::new(envelope);
        }
    };
    let mut devices = Vec::new();
    if online {
        for session in state.sessions.all() {
            if caller.identity.in_group(&session.group()) < Access::Read {
                continue;
            }
            let info = session.info();
            if wanted(query, info.app_type.as_str(), &info.terminal) {
                let mut fields = entry(state, caller, &session, &info);
                if offline {
                    fields.set("Status", "online");
                }
                devices.push(fields);
            }
        }
    }
    if offline && let Err(error) = list_offline(state, caller, query, &mut devices).await {
        tracing::error!(%error, "the list of devices failed");
        return Answer::new(Envelope::answer(kind, cseq, ErrorNum::UNAVAILABLE));
    }
    let mut envelope = Envelope::answer(kind, cseq, ErrorNum::OK);
    envelope
        .body
        .set("DeviceCount", devices.len().to_string())
        .set_list("Devices", devices);
    Answer::new(envelope)
}

async fn list_offline(
    state: &State,
    caller: &Caller,
    query: &Query,
    devices: &mut Vec<Fields>,
) -> Result<(), StoreError> {
    let mut known = DeviceQuery {
        groups: caller.identity.scope(),
        ..DeviceQuery::default()
    };
    loop {
        let page = state.devices.list(&known).await?;
        for device in page.items {
            let said = &device.said;
            let is_here = state.sessions.get(&device.serial).is_some();
            if is_here || !wanted(query, &said.app_type, &said.terminal_type) {
                continue;
            }
            let mut fields = Fields::new();
            fields
                .set("Serial", device.serial.as_str())
                .set("Name", device.name())
                .set("Tag", said.tag.as_str())
                .set("AppType", said.app_type.as_str())
                .set("TerminalType", said.terminal_type.as_str())
                .set("Status", "offline")
                .set_some("LastSeen", device.last_seen.map(|at| at.0.to_string()))
                .set("Reason", device.last_cause.as_str());
            devices.push(fields);
        }
        match page.next {
            Some(next) => known.cursor = Some(next),
            None => return Ok(()),
        }
    }
}

fn entry(state: &State, caller: &Caller, session: &Session, info: &DeviceInfo) -> Fields {
    let mut fields = Fields::new();
    fields
        .set("Serial", &*session.serial)
        .set("Name", info.name.as_str())
        .set("Tag", info.tag.as_str())
        .set("AppType", info.app_type.as_str())
        .set("TerminalType", info.terminal.as_str());
    if info.app_type == AppType::EasyCamera {
        fields.set("SnapURL", snap_url(state, caller, &session.serial, 1));
    }
    fields
}

fn wanted(query: &Query, kind: &str, terminal: &str) -> bool {
    any_of(query.get("apptype"), |text| text.eq_ignore_ascii_case(kind))
        && any_of(query.get("terminaltype"), |text| {
            same_terminal(text, terminal)
        })
}

fn any_of(filter: Option<&str>, fits: impl Fn(&str) -> bool) -> bool {
    filter.is_none_or(|filter| filter.split('|').any(|text| fits(text.trim())))
}

fn same_terminal(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || TerminalType::parse(a).is_some_and(|t| Some(t) == TerminalType::parse(b))
}

/// URL of a channel's picture, empty when there is none.
fn snap_url(state: &State, caller: &Caller, serial: &str, channel: u32) -> String {
    let stream = StreamRef::new(serial, channel);
    let Some(path) = state.snapshots.url_path(state, &stream) else {
        return String::new();
    };
    caller.our_url(state, &path)
}

/// One device.
pub(super) fn info(state: &State, caller: &Caller, serial: Option<&str>, cseq: &str) -> Answer {
    let kind = MessageType::DeviceInfoAck;
    let Some(serial) = serial else {
        return Answer::missing(kind, "device");
    };
    let Some(session) = state.sessions.get(serial) else {
        return unknown_device(kind, serial, cseq);
    };
    let info = session.info();
    let mut envelope = Envelope::answer(kind, cseq, ErrorNum::OK);
    let body = &mut envelope.body;
    body.set("Serial", serial)
        .set("SnapURL", snap_url(state, caller, serial, 1));
    if info.app_type == AppType::EasyNvr {
        let channels = info.channels.iter().map(|channel| {
            let mut fields = Fields::new();
            fields
                .set("Channel", channel.channel.to_string())
                .set("Name", channel.name.as_str())
                .set("Status", if channel.online { "online" } else { "offline" })
                .set("SnapURL", snap_url(state, caller, serial, channel.channel));
            fields
        });
        let channels: Vec<_> = channels.collect();
        body.set("ChannelCount", channels.len().to_string())
            .set_list("Channels", channels);
    }
    Answer::new(envelope)
}

/// HTTP 200 with 603: old clients look at `ErrorNum` alone.
pub(super) fn unknown_device(kind: MessageType, serial: &str, cseq: &str) -> Answer {
    let mut envelope = Envelope::answer(kind, cseq, ErrorNum::DEVICE_NOT_FOUND);
    let serial: String = serial.chars().take(64).collect();
    envelope.body.set("Serial", serial);
    Answer::new(envelope)
}

pub(super) fn base_config(state: &State, caller: &Caller) -> Answer {
    let (host, port) = caller.our_address(state);
    let mut envelope = Envelope::answer(MessageType::BaseConfigAck, "1", ErrorNum::OK);
    envelope
        .body
        .set("ServiceLanPort", caller.local.port().to_string())
        .set("ServiceWanIP", host.as_str())
        .set("ServiceWanPort", port.to_string())
        .set("SnapLocalPath", "")
        .set("SnapWebPath", caller.our_url(state, "/snap/"));
    Answer::new(envelope)
}

/// Most devices on a page: a longer one would keep others waiting while it is made.
const MAX_PAGE: usize = 1000;

/// The devices that a query asks for, as far as the caller sees them.
fn device_query(caller: &Caller, query: &Query) -> Result<DeviceQuery, StoreError> {
    let text = |name| query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let mut wanted = DeviceQuery {
        text: text("text"),
        tag: text("tag"),
        app_types: text("kind").into_iter().collect(),
        groups: caller.identity.scope(),
        descending: query.get("desc").is_some_and(|v| v == "1"),
        cursor: text("cursor"),
        limit: query.get("limit").and_then(|v| v.parse().ok()).unwrap_or(0),
        ..DeviceQuery::default()
    };
    if wanted.limit == 0 || wanted.limit > MAX_PAGE {
        wanted.limit = MAX_PAGE;
    }
    wanted.sort = match query.get("sort") {
        Some("name") => DeviceSort::Name,
        Some("created") => DeviceSort::Created,
        _ => DeviceSort::Serial,
    };
    if let Some(group) = text("group") {
        let group: GroupPath = group.parse()?;
        wanted.groups = Some(match wanted.groups {
            None => vec![group],
            // What lies in both: the group asked for, or what of it he sees.
            Some(seen) if seen.iter().any(|s| s.holds(&group)) => vec![group],
            Some(seen) => seen.into_iter().filter(|s| group.holds(s)).collect(),
        });
    }
    Ok(wanted)
}

/// What the page shows: known devices, with state and live channels. URLs are paths, so that
/// they hold under whatever name the page was opened.
pub(crate) async fn overview(
    state: &Arc<State>,
    caller: &Caller,
    query: &str,
) -> Result<Value, StoreError> {
    let wanted = device_query(caller, &Query::parse(query))?;
    let known = state.devices.list(&wanted).await?;
    let live: HashMap<StreamPath, StreamLocation> = state
        .directory
        .streams()
        .await?
        .into_iter()
        .map(|location| (location.path.clone(), location))
        .collect();
    let mut devices = Vec::with_capacity(known.items.len());
    for device in known.items {
        let presence = state.presence.entry(&device.serial).await.ok().flatten();
        let numbers: Vec<(u32, &str, bool)> = if device.said.channels.is_empty() {
            vec![(1, device.name(), true)]
        } else {
            let of = |c| -> (u32, &str, bool) {
                let c: &easydarwin_core::registry::DeviceChannel = c;
                (c.channel, c.name.as_str(), c.online)
            };
            device.said.channels.iter().map(of).collect()
        };
        let channels: Vec<Value> = numbers
            .into_iter()
            .map(|(number, name, online)| {
                let stream = StreamRef::new(device.serial.as_str(), number);
                let path = StreamPath::device(&device.serial, number).ok();
                let location = path.and_then(|path| live.get(&path));
                json!({
                    "channel": number,
                    "name": name,
                    "online": online,
                    "snapshot": state.snapshots.url_path(state, &stream),
                    "snapshotAt": state.snapshots.at(&stream).map(|at| at.0),
                    "live": location.is_some_and(|l| l.ready),
                    "viewers": location.map_or(0, |l| l.viewers),
                })
            })
            .collect();
        devices.push(json!({
            "serial": device.serial,
            "name": device.name(),
            "tag": device.said.tag,
            "tags": device.tags,
            "group": device.group.as_str(),
            "enabled": device.enabled,
            "kind": device.said.app_type,
            "terminal": device.said.terminal_type,
            "state": presence.as_ref().map_or("offline", |p| p.state.as_str()),
            "since": presence.as_ref().map(|p| p.since.0),
            "lastSeen": presence
                .as_ref()
                .map_or(device.last_seen, |p| p.last_seen)
                .map(|at| at.0),
            "why": presence.as_ref().map(PresenceEntry::explain),
            "channels": channels,
        }));
    }
    // Strangers belong to no group.
    let everything = caller.identity.everywhere() >= Access::Read;
    let strangers = if everything {
        state.pending.all()
    } else {
        Vec::new()
    };
    let pending: Vec<Value> = strangers
        .into_iter()
        .map(|unknown| {
            json!({
                "serial": unknown.serial,
                "address": unknown.address.to_string(),
                "last": unknown.last.0,
            })
        })
        .collect();
    let nodes = state.directory.nodes().await?;
    Ok(json!({
        "time": state.now().0,
        "devices": devices,
        "next": known.next,
        "pending": pending,
        "nodes": nodes.len(),
    }))
}
