//! [`Page`]: metrics as text, in either of the two formats that Prometheus reads.
//!
//! They are alike but for how a counter and an info are announced, and for the end of the text. The crate
//! `prometheus-client` writes only one of them, and wants a registry of what here is read off the board.

use crate::http::accept::weight;
use std::fmt::{Display, Write};

/// What a scraper asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// `OpenMetrics`, version 1.0.0.
    OpenMetrics,
}

/// What kind of family follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// Its samples end in `_total`.
    Counter,
    Histogram,
    /// Its one sample ends in `_info`; its labels are what it says.
    Info,
}

/// The text so far.
pub(super) struct Page {
    format: Format,
    text: String,
}

impl Format {
    /// The one that an `Accept` header prefers; without a word about it, what everything can read.
    pub(super) fn wanted(accept: &str) -> Self {
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

impl Kind {
    /// How the samples of a family of this name are called.
    pub(super) fn samples(self, name: &str) -> String {
        let suffix = match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        };
        format!("{name}{suffix}")
    }

    fn word(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) | (Self::Info, Format::Prometheus) => "gauge",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
        }
    }
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// What has been written since it was taken last.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    /// Announces a family, whose name is without `_total` or `_info`. Returns the name of its samples.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> String {
        let samples = kind.samples(name);
        let announced = match self.format {
            Format::Prometheus => &samples,
            Format::OpenMetrics => name,
        };
        let word = kind.word(self.format);
        self.line(format_args!("# HELP {announced} {help}"));
        self.line(format_args!("# TYPE {announced} {word}"));
        samples
    }

    /// One sample.
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
        let _ = writeln!(self.text, "{line}"); // a String takes everything
    }
}

/// The value of a label.
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
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0.1,text/plain",
            "application/openmetrics-text;version=2.0.0",
        ] {
            assert_eq!(Format::wanted(other), Format::Prometheus, "{other}");
        }
    }

    #[test]
    fn a_counter_is_announced_without_its_ending_in_one_format_and_with_it_in_the_other() {
        let page = |format| {
            let mut page = Page::new(format);
            let name = page.family("lost_lines", Kind::Counter, "Lines.");
            page.sample(&name, &[("service", "a\\b\"c\nd")], 3);
            page.end();
            String::from_utf8(page.take()).unwrap()
        };
        let sample = "lost_lines_total{service=\"a\\\\b\\\"c\\nd\"} 3\n";
        assert_eq!(
            page(Format::Prometheus),
            format!("# HELP lost_lines_total Lines.\n# TYPE lost_lines_total counter\n{sample}")
        );
        assert_eq!(
            page(Format::OpenMetrics),
            format!("# HELP lost_lines Lines.\n# TYPE lost_lines counter\n{sample}# EOF\n")
        );
    }
}
