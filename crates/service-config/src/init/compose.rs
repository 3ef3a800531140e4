//! Finds the services of a compose file and their dependencies. This is not a YAML parser: it reads the usual block
//! style and misses services in other styles, because its results are only suggestions.

/// A service of a compose file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ComposeService {
    pub(super) name: String,
    pub(super) needs: Vec<String>,
}

/// Every service below the top level's `services:`.
pub(super) fn services(text: &str) -> Vec<ComposeService> {
    let mut services: Vec<ComposeService> = Vec::new();
    let (mut inside, mut level) = (false, None);
    // The indent of the current `depends_on:`, and the indent of its entries.
    let mut needs: Option<(usize, Option<usize>)> = None;
    for line in text.lines() {
        let content = line.split(" #").next().unwrap_or_default().trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent == 0 {
            inside = content == "services:";
            continue;
        }
        let name_level = *level.get_or_insert(indent);
        if !inside || indent < name_level {
            continue;
        }
        if indent == name_level {
            needs = None;
            let name = key(content).map(unquote);
            services.extend(name.map(|name| ComposeService { name, needs: Vec::new() }));
            continue;
        }
        let Some(service) = services.last_mut() else { continue };
        if let Some((opened, entries)) = &mut needs {
            let item = content.strip_prefix("- ");
            // A list may have the same indent as its key.
            if indent > *opened || (indent == *opened && item.is_some()) {
                if indent == *entries.get_or_insert(indent) {
                    service.needs.extend(item.or_else(|| key(content)).map(unquote));
                }
                continue;
            }
            needs = None;
        }
        if let Some(rest) = content.strip_prefix("depends_on:") {
            let inline = rest.trim();
            service.needs.extend(flow_items(inline).map(unquote).filter(|name| !name.is_empty()));
            needs = (inline.is_empty() || inline.starts_with('&')).then_some((indent, None));
        }
    }
    services
}

/// The key at the beginning of a line. A colon within a key has no space after it.
fn key(content: &str) -> Option<&str> {
    let key = content.split_once(": ").map(|(key, _)| key).or_else(|| content.strip_suffix(':'))?;
    (key != "<<").then(|| key.trim_end())
}

/// The items of a flow list, or the keys of a flow table: `[db, cache]` or `{db: {condition: c}, cache: {}}`.
fn flow_items(inline: &str) -> impl Iterator<Item = &str> {
    let is_table = inline.starts_with('{');
    let inside = inline.strip_prefix(['[', '{']).unwrap_or_default();
    let mut depth = 0_usize;
    let items = inside.split(move |char| {
        match char {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    });
    items.map(move |item| match item.trim().trim_end_matches([']', '}']) {
        item if is_table => item.split_once(':').map_or(item, |(key, _)| key),
        item => item,
    })
}

fn unquote(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_with_what_they_need_however_that_is_written() {
        let text = "\
version: '3'
services:
  # the database
  db:
    image: postgres   # of today
  cache:
    image: redis
    depends_on: [db, 'dns']
  web:
    build: .
    depends_on:
      db:
        condition: service_healthy
      cache:
        condition: service_started
    ports:
      - 80:80
  \"worker\":
    depends_on:
    - db
    command: [run]
  api: &api
    depends_on:
      db: { condition: service_healthy, restart: true }
      \"cache\": {condition: service_started}
  admin:
    <<: *api
    depends_on: {db: {condition: service_healthy, restart: true}, 'cache': {}}
  old:
    depends_on:
      - \"db\"
volumes:
  data:
";
        let found = services(text);
        let found: Vec<_> =
            found.iter().map(|service| (service.name.as_str(), service.needs.join(" "))).collect();
        let expected = [
            ("db", ""),
            ("cache", "db dns"),
            ("web", "db cache"),
            ("worker", "db"),
            ("api", "db cache"),
            ("admin", "db cache"),
            ("old", "db"),
        ];
        assert_eq!(found, expected.map(|(name, needs)| (name, needs.to_owned())));
    }
}
