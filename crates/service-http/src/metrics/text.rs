//! [`TextWriter`]: writes metrics as text, in both formats that Prometheus reads.
//!
//! The formats differ in the declaration of a counter and an info, and in the end of the text. The crate
//! `prometheus-client` writes only one format and needs a registry; here the snapshot of the fleet has all values.

use crate::accept::weight;
use std::fmt::{Display, Write};

/// The format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// `OpenMetrics`, version 1.0.0.
    OpenMetrics,
}

/// The kind of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Gauge,
    /// A counter. The names of its samples end with `_total`.
    Counter,
    Histogram,
    /// An info. The name of its only sample ends with `_info`, and the labels have the values.
    Info,
}

/// The text of the metrics.
pub(super) struct TextWriter {
    format: Format,
    text: String,
}

impl Format {
    /// The format that an `Accept` header prefers; Prometheus text by default.
    pub(super) fn from_accept(accept: &str) -> Self {
        let open = weight(accept, "application/openmetrics-text", Some("1.0.0"));
        if open > 0.0 && open >= weight(accept, "text/plain", None) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl MetricKind {
    /// The name of the samples of a family.
    pub(super) fn sample_name(self, name: &str) -> String {
        let suffix = match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        };
        format!("{name}{suffix}")
    }

    fn as_str(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) | (Self::Info, Format::Prometheus) => "gauge",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
        }
    }
}

impl TextWriter {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text since the last call.
    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    /// Declares a family, whose name is without `_total` or `_info`. Returns the name of its samples.
    pub(super) fn family(&mut self, name: &str, kind: MetricKind, help: &str) -> String {
        let sample_name = kind.sample_name(name);
        let announced = match self.format {
            Format::Prometheus => &sample_name,
            Format::OpenMetrics => name,
        };
        let kind_name = kind.as_str(self.format);
        self.line(format_args!("# HELP {announced} {help}"));
        self.line(format_args!("# TYPE {announced} {kind_name}"));
        sample_name
    }

    /// Writes one sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}"); // writing to a string cannot fail
    }
}

/// Writes the value of a label.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::from_accept(prometheus), Format::OpenMetrics);
        assert_eq!(Format::from_accept("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0.1,text/plain",
            "application/openmetrics-text;version=2.0.0",
        ] {
            assert_eq!(Format::from_accept(other), Format::Prometheus, "{other}");
        }
    }

    #[test]
    fn a_counter_is_announced_without_its_ending_in_one_format_and_with_it_in_the_other() {
        let text = |format| {
            let mut text = TextWriter::new(format);
            let name = text.family("lost_lines", MetricKind::Counter, "Lines.");
            text.sample(&name, &[("service", "a\\b\"c\nd")], 3);
            text.end();
            String::from_utf8(text.drain()).unwrap()
        };
        let sample = "lost_lines_total{service=\"a\\\\b\\\"c\\nd\"} 3\n";
        assert_eq!(
            text(Format::Prometheus),
            format!("# HELP lost_lines_total Lines.\n# TYPE lost_lines_total counter\n{sample}")
        );
        assert_eq!(
            text(Format::OpenMetrics),
            format!("# HELP lost_lines Lines.\n# TYPE lost_lines counter\n{sample}# EOF\n")
        );
    }
}
