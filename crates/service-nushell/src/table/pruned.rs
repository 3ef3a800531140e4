//! The row of a project whose state was removed.

use super::{Row, string};
use nu_protocol::{Span, Value, record};
use service_api::project::gone::Pruned;

impl Row for Pruned {
    const PRIORITY_COLUMNS: &'static [&'static str] = &["path"];

    fn into_row(self, span: Span) -> Value {
        Value::record(
            record! {
                "path" => Value::string(self.path, span),
                "size" => Value::filesize(i64::try_from(self.size).unwrap_or(i64::MAX), span),
                "removed" => Value::bool(self.error.is_none(), span),
                "error" => string(self.error, span),
                "state_dir" => Value::string(self.state_dir, span),
            },
            span,
        )
    }
}
