//! The library's log, as lines for the vendor's function.

use std::ffi::CString;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::callback::{Callback, LogFunction};

/// Runs `work` with its log going to `callback`, or nowhere. Nothing else of the process is touched.
pub(super) fn with(callback: Option<Callback<LogFunction>>, work: impl FnOnce()) {
    match callback {
        Some(callback) => tracing::subscriber::with_default(Lines { callback }, work),
        None => work(),
    }
}

struct Lines {
    callback: Callback<LogFunction>,
}

/// A line that is being written: the message, then `name=value` pairs.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    /// The library logs no fractions and no numbers of 128 bits; being able to print them would be 10 KB.
    fn record_f64(&mut self, field: &Field, _: f64) {
        self.record_debug(field, &"fraction");
    }

    fn record_i128(&mut self, field: &Field, _: i128) {
        self.record_debug(field, &"number");
    }

    fn record_u128(&mut self, field: &Field, _: u128) {
        self.record_debug(field, &"number");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Lines carry what they need; spans are not told apart.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        line.message.push_str(&line.fields);
        let bytes: Vec<u8> = line.message.bytes().filter(|byte| *byte != 0).collect();
        let text = CString::new(bytes).unwrap_or_default();
        let level = match *event.metadata().level() {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            _ => 4,
        };
        self.callback.call(level, &text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
