//! [`Map`]: which keys of the file stand where.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a file. Empty for one that is not TOML.
pub(super) struct Map<'t>(Option<Spanned<DeTable<'t>>>);

impl<'t> Map<'t> {
    /// Reads the keys.
    pub(super) fn of(text: &'t str) -> Self {
        Self(DeTable::parse(text).ok())
    }

    /// The keys that lead to what stands there.
    pub(super) fn path(&self, at: &Range<usize>) -> Vec<String> {
        self.0.as_ref().and_then(|root| into_table(root.get_ref(), at)).unwrap_or_default()
    }

    /// Where the value of a key stands.
    pub(super) fn value(&self, path: &[&str]) -> Option<Range<usize>> {
        let (last, tables) = path.split_last()?;
        let mut table = self.0.as_ref()?.get_ref();
        for key in tables {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        table.get(*last).map(Spanned::span)
    }

    /// Where the name of a service stands.
    pub(super) fn name(&self, service: &str) -> Option<Range<usize>> {
        let services = self.0.as_ref()?.get_ref().get("services")?.get_ref().as_table()?;
        services.iter().find(|(key, _)| key.get_ref() == service).map(|(key, _)| key.span())
    }

    /// The names of all services, also of those that cannot be understood.
    pub(super) fn services(&self) -> Vec<String> {
        let root = self.0.as_ref().map(Spanned::get_ref);
        let services = root.and_then(|root| root.get("services")?.get_ref().as_table());
        services.into_iter().flatten().map(|(key, _)| key.get_ref().to_string()).collect()
    }
}

fn into_table(table: &DeTable<'_>, at: &Range<usize>) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let rest = if encloses(&key.span(), at) { Vec::new() } else { into_value(value, at)? };
        Some(std::iter::once(key.get_ref().to_string()).chain(rest).collect())
    })
}

/// The span of a table with a header is not around what stands below it, so every table is looked into.
fn into_value(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> Option<Vec<String>> {
    let inner = match value.get_ref() {
        DeValue::Table(table) => into_table(table, at),
        DeValue::Array(values) => values.iter().find_map(|value| into_value(value, at)),
        _ => None,
    };
    inner.or_else(|| encloses(&value.span(), at).then(Vec::new))
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::Map;

    #[test]
    fn a_place_has_the_keys_that_lead_to_it() {
        let text = "[services.web]\nenv = { A = '1' }\ndependencies = ['a', { name = 'b' }]\n[services.web.health]\ninterval = '1s'\n";
        let map = Map::of(text);
        let path = |word: &str| {
            let start = text.find(word).unwrap();
            map.path(&(start..start + word.len())).join(".")
        };
        assert_eq!(path("web"), "services.web");
        assert_eq!(path("'1'"), "services.web.env.A");
        assert_eq!(path("'a'"), "services.web.dependencies");
        assert_eq!(path("'b'"), "services.web.dependencies.name");
        assert_eq!(path("interval"), "services.web.health.interval");
        assert_eq!(map.value(&["services", "web", "health", "interval"]).map(|at| &text[at]), Some("'1s'"));
        assert_eq!(map.services(), ["web"]);
    }
}
