//! Devices from and into files: CSV or JSON, a device a row.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use easydarwin_core::protocol::{check_serial, login};
use easydarwin_core::registry::{
    Changed, Credential, Device, DeviceChange, DevicePatch, DeviceQuery, DeviceStore as _, Secret,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::{Desk, devices, file_error, say};
use crate::CmsError;

/// Devices in one change: all of them or none.
const BATCH: usize = 500;

/// Longest file.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Form {
    /// Columns serial,name,group,tags,enabled,key,token with a head line; tags with `;` between
    Csv,
    /// A list of objects with these fields
    Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// The file (`-`: stdin)
    file: PathBuf,
    /// How it is written; default: by its name, else CSV
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Make a key for each device that has no secret, and write serials and keys into this new
    /// file, which only its owner can read
    #[arg(long, value_name = "FILE")]
    new_keys: Option<PathBuf>,
    /// Look at the file, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The file (`-`: stdout)
    #[arg(default_value = "-")]
    file: PathBuf,
    /// How to write it; default: by its name, else CSV
    #[arg(long, value_enum)]
    form: Option<Form>,
}

/// One device of a file. What is missing leaves what is there.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row<T> {
    serial: String,
    name: Option<String>,
    group: Option<String>,
    tags: Option<T>,
    enabled: Option<bool>,
    /// A key of our kind, as the device has it.
    key: Option<String>,
    /// The plain token of an old device.
    token: Option<String>,
}

impl Row<String> {
    fn with_list(self) -> Row<Vec<String>> {
        let list = |text: String| text.split(';').map(|tag| tag.trim().to_owned()).collect();
        Row {
            serial: self.serial,
            name: self.name,
            group: self.group,
            tags: self.tags.map(list),
            enabled: self.enabled,
            key: self.key,
            token: self.token,
        }
    }
}

/// A device as it is written into a file.
#[derive(Serialize)]
struct Written<'a, T> {
    serial: &'a str,
    name: &'a str,
    group: &'a str,
    tags: T,
    enabled: bool,
}

impl<'a, T> Written<'a, T> {
    fn new(device: &'a Device, tags: T) -> Self {
        Self {
            serial: &device.serial,
            name: &device.label,
            group: device.group.as_str(),
            tags,
            enabled: device.enabled,
        }
    }
}

impl Form {
    fn of(given: Option<Self>, file: &Path) -> Self {
        let is_json = || {
            file.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("json"))
        };
        given.unwrap_or(if is_json() { Self::Json } else { Self::Csv })
    }
}

/// The text of a file or of stdin.
pub(super) fn read_text(path: &Path) -> Result<String, CmsError> {
    let from: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(file_error(path))?)
    };
    let mut text = String::new();
    from.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(file_error(path))?;
    Ok(text)
}

fn rows(text: &str, form: Form) -> Result<Vec<Row<Vec<String>>>, CmsError> {
    let wrong = |error: &dyn std::fmt::Display| CmsError::Config(format!("the file: {error}"));
    match form {
        Form::Json => serde_json::from_str(text).map_err(|e| wrong(&e)),
        Form::Csv => csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes())
            .deserialize::<Row<String>>()
            .map(|row| row.map(Row::with_list).map_err(|e| wrong(&e)))
            .collect(),
    }
}

/// What a row changes. `number`: for the error.
fn changes(
    row: &Row<Vec<String>>,
    number: usize,
    desk: &Desk,
    pepper: &[u8; 32],
) -> Result<Vec<DeviceChange>, CmsError> {
    let wrong = |what: &dyn std::fmt::Display| {
        let serial: String = row.serial.chars().take(64).collect();
        CmsError::Config(format!("row {number} ({serial}): {what}"))
    };
    let serial = &row.serial;
    check_serial(serial).map_err(|e| wrong(&e))?;
    let group = row.group.as_deref().map(str::parse).transpose();
    let patch = DevicePatch {
        label: row.name.clone(),
        tags: row.tags.clone(),
        group: group.map_err(|e| wrong(&e))?,
        enabled: row.enabled,
    };
    let mut all = vec![DeviceChange::Patch(serial.clone(), patch)];
    let mut credential = |id: &str, secret| {
        let credential = Credential::new(id, secret, desk.author.at);
        all.push(DeviceChange::PutCredential(serial.clone(), credential));
    };
    if let Some(key) = row.key.as_deref().filter(|key| !key.is_empty()) {
        let verifier = login::DeviceKey::new(key, serial).verifier().clone();
        credential("key-1", Secret::Key(verifier));
    }
    if let Some(token) = row.token.as_deref().filter(|token| !token.is_empty()) {
        credential(
            "token",
            Secret::Token(login::token_digest(pepper, serial, token)),
        );
    }
    Ok(all)
}

fn progress(length: usize) -> ProgressBar {
    // Hidden by itself where stderr is no terminal.
    let bar = ProgressBar::with_draw_target(
        Some(u64::try_from(length).unwrap_or(u64::MAX)),
        ProgressDrawTarget::stderr(),
    );
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} devices, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

pub(super) async fn import(desk: &Desk, args: &Import) -> Result<(), CmsError> {
    let text = read_text(&args.file)?;
    let rows = rows(&text, Form::of(args.form, &args.file))?;
    let pepper = desk.pepper()?;
    // All is read and checked before anything is changed.
    let mut all = Vec::with_capacity(rows.len());
    for (number, row) in (1..).zip(&rows) {
        all.push(changes(row, number, desk, &pepper)?);
    }
    if args.dry_run {
        return say(format_args!("{} devices, nothing wrong", all.len()));
    }
    let mut keys = match &args.new_keys {
        None => None,
        Some(path) => Some(new_private(path)?),
    };
    let bar = progress(all.len());
    let (mut added, mut changed) = (0, 0);
    for (rows, batch) in rows.chunks(BATCH).zip(all.chunks(BATCH)) {
        let mut batch = batch.to_vec();
        let mut made = Vec::new();
        if keys.is_some() {
            for (row, changes) in rows.iter().zip(&mut batch) {
                if changes.len() == 1 && desk.store.credentials(&row.serial).await?.is_empty() {
                    let (key, credential) = devices::new_key(&row.serial, "key-1", desk.author.at)?;
                    changes.push(DeviceChange::PutCredential(row.serial.clone(), credential));
                    made.push(format!("{},{key}\n", row.serial));
                }
            }
        }
        // First the file: a key that is in the store and nowhere else is lost.
        if let (Some(file), Some(path)) = (&mut keys, &args.new_keys) {
            let write = file
                .write_all(made.concat().as_bytes())
                .and_then(|()| file.sync_data());
            write.map_err(file_error(path))?;
        }
        let sizes: Vec<usize> = batch.iter().map(Vec::len).collect();
        let flat = batch.into_iter().flatten().collect();
        let done = desk.store.change(flat, &desk.author).await?;
        let mut done = done.into_iter();
        for size in sizes {
            // The device itself comes first.
            let of_device: Vec<Changed> = done.by_ref().take(size).collect();
            match of_device.first() {
                Some(Changed::Added) => added += 1,
                _ if of_device.iter().any(|c| *c != Changed::Same) => changed += 1,
                _ => {}
            }
        }
        bar.inc(u64::try_from(rows.len()).unwrap_or(0));
    }
    bar.finish_and_clear();
    let same = rows.len().saturating_sub(added + changed);
    say(format_args!(
        "{added} added, {changed} changed, {same} as they were"
    ))
}

fn new_private(path: &Path) -> Result<File, CmsError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(file_error(path))?;
    file.write_all(b"serial,key\n").map_err(file_error(path))?;
    Ok(file)
}

pub(super) async fn export(desk: &Desk, args: &Export) -> Result<(), CmsError> {
    let form = Form::of(args.form, &args.file);
    let to_stdout = args.file == Path::new("-");
    let mut devices = Vec::new();
    let mut query = DeviceQuery::default();
    loop {
        let page = desk.store.list(&query).await?;
        devices.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    let text = written(&devices, form)?;
    if to_stdout {
        let mut out = io::stdout().lock();
        return out
            .write_all(text.as_bytes())
            .map_err(file_error(&args.file));
    }
    std::fs::write(&args.file, text).map_err(file_error(&args.file))?;
    if io::stderr().is_terminal() {
        eprintln!("{} devices in {}", devices.len(), args.file.display());
    }
    Ok(())
}

fn written(devices: &[Device], form: Form) -> Result<String, CmsError> {
    let failed = |error: &dyn std::fmt::Display| CmsError::Config(error.to_string());
    match form {
        Form::Json => {
            let list: Vec<_> = devices.iter().map(|d| Written::new(d, &d.tags)).collect();
            let text = serde_json::to_string_pretty(&list).map_err(|e| failed(&e))?;
            Ok(text + "\n")
        }
        Form::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for device in devices {
                let row = Written::new(device, device.tags.join(";"));
                writer.serialize(row).map_err(|e| failed(&e))?;
            }
            let bytes = writer.into_inner().map_err(|e| failed(&e))?;
            String::from_utf8(bytes).map_err(|e| failed(&e))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_alike() {
        let csv = "serial, name,group,tags,enabled,key,token\n                   a,Tor,north/gate,x;y,false,k,\n                   b,,,,,,123456\n";
        let json = r#"[{"serial":"a","name":"Tor","group":"north/gate","tags":["x","y"],
                        "enabled":false,"key":"k"},{"serial":"b","token":"123456"}]"#;
        for (text, form) in [(csv, Form::Csv), (json, Form::Json)] {
            let rows = rows(text, form).unwrap();
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[0].tags.as_deref().unwrap(), ["x", "y"]);
            assert_eq!((rows[0].enabled, rows[1].enabled), (Some(false), None));
            assert_eq!(rows[1].name, None);
            assert_eq!(rows[1].token.as_deref(), Some("123456"));
        }
        for (text, form) in [
            ("serial,nam\na,b\n", Form::Csv),
            ("serial,enabled\na,perhaps\n", Form::Csv),
            ("{}", Form::Json),
            (r#"[{"serial":1}]"#, Form::Json),
        ] {
            assert!(rows(text, form).is_err(), "{text}");
        }
    }
}
