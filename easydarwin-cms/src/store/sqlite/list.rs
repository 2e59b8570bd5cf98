//! Lists of devices: the query is put together of what is asked for.

use easydarwin_core::registry::{Device, DeviceQuery, DeviceSort, GroupPath, Page, PagePlace};
use rusqlite::{Connection, ToSql};

use super::rows;

/// Most devices on one page.
const MAX_PAGE: usize = 10_000;

/// Longest list of groups, kinds or terminals in one query.
const MAX_ALTERNATIVES: usize = 1000;

/// A query that grows.
#[derive(Default)]
struct Where {
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Where {
    fn and(&mut self, text: &str, values: impl IntoIterator<Item = String>) {
        self.text.push_str(if self.text.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.text.push_str(text);
        self.values
            .extend(values.into_iter().map(|v| Box::new(v) as Box<dyn ToSql>));
    }

    /// One of several; nothing at all fits an empty list.
    fn any(&mut self, one: &str, of: impl IntoIterator<Item = Vec<String>>) {
        let alternatives: Vec<Vec<String>> = of.into_iter().take(MAX_ALTERNATIVES).collect();
        if alternatives.is_empty() {
            return self.and("FALSE", []);
        }
        let text = vec![one; alternatives.len()].join(" OR ");
        self.and(&format!("({text})"), alternatives.into_iter().flatten());
    }
}

pub(super) fn list(
    connection: &Connection,
    query: &DeviceQuery,
    after: Option<PagePlace>,
) -> rusqlite::Result<Page<Device>> {
    let mut filter = Where::default();
    if let Some(text) = &query.text {
        filter.and("instr(search, ?) > 0", [text.to_lowercase()]);
    }
    for (column, wanted) in [
        ("lower(app_type) = ?", &query.app_types),
        ("lower(terminal_type) = ?", &query.terminal_types),
    ] {
        if !wanted.is_empty() {
            filter.any(column, wanted.iter().map(|w| vec![w.to_ascii_lowercase()]));
        }
    }
    if let Some(tag) = &query.tag {
        filter.and(
            "(tag = ? OR EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?))",
            [tag.clone(), tag.clone()],
        );
    }
    if let Some(groups) = &query.groups
        && !groups.iter().any(GroupPath::is_root)
    {
        // What is below `a/b` begins with `a/b/`; `0` is the character after `/`.
        filter.any(
            "(group_path = ? OR (group_path > ? AND group_path < ?))",
            groups
                .iter()
                .map(|g| vec![g.to_string(), format!("{g}/"), format!("{g}0")]),
        );
    }
    let key = match query.sort {
        DeviceSort::Serial => "''",
        DeviceSort::Name => "name_key",
        // As text of equal length, like every key.
        _ => "printf('%020d', created)",
    };
    let column = match query.sort {
        DeviceSort::Serial => "serial",
        DeviceSort::Name => "name_key",
        _ => "created",
    };
    let (beyond, order) = if query.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    if let Some(PagePlace { key, serial }) = after {
        match query.sort {
            DeviceSort::Serial => filter.and(&format!("serial {beyond} ?"), [serial]),
            DeviceSort::Name => {
                filter.and(
                    &format!("(name_key, serial) {beyond} (?, ?)"),
                    [key, serial],
                );
            }
            _ => {
                let text = format!("(created, serial) {beyond} (CAST(? AS INTEGER), ?)");
                filter.and(&text, [key, serial]);
            }
        }
    }
    let limit = match query.limit {
        0 => MAX_PAGE,
        n => n.min(MAX_PAGE),
    };
    let sql = format!(
        "SELECT {}, {key} FROM devices{} ORDER BY {column} {order}, serial {order} LIMIT {}",
        rows::DEVICE,
        filter.text,
        limit + 1
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = rusqlite::params_from_iter(filter.values.iter());
    let found = statement.query_map(values, |row| {
        Ok((rows::device(row)?, row.get::<_, String>(13)?))
    })?;
    let mut found: Vec<(Device, String)> = found.collect::<Result<_, _>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|(device, key)| PagePlace::new(key, &device.serial).to_string());
    let items = found.into_iter().map(|(device, _)| device).collect();
    Ok(Page { items, next })
}
