//! An event as it stands in the interface.

use easydarwin_core::registry::LoggedEvent;
use serde_json::{Map, Value, json};

/// `id`, `at` (ms), `kind`, and `serial`, `channel`, `node`, `cause`, `data` where there are any.
pub(crate) fn as_json(logged: &LoggedEvent) -> Value {
    let event = &logged.event;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() && value != "" {
            fields.insert(name.to_owned(), value);
        }
    };
    set("id", json!(logged.id.to_string()));
    set("at", json!(event.at.0));
    set("kind", json!(event.kind.as_str()));
    set("serial", json!(event.serial.as_deref()));
    set("channel", json!(event.channel));
    set("node", json!(event.node.as_deref()));
    set("cause", json!(event.cause));
    set("data", event.data.clone());
    Value::Object(fields)
}
