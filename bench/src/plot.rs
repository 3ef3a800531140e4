//! A plot in SVG: panels side by side with logarithmic axes, so that a quantity proportional to the number of services
//! is a straight line, and a constant one is horizontal.

use std::fmt::Write as _;

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 34.0;
const INNER: (f64, f64) = (WIDTH - LEFT - 16.0, HEIGHT - TOP - 40.0);
/// Two colours that are distinguishable with a colour vision deficiency.
const COLOURS: [&str; 3] = ["#888888", "#0b6e99", "#d55e00"];

pub(crate) fn draw(panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", at as f64 * WIDTH);
        one(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// One axis, whose limits are powers of ten below the minimum and above the maximum.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(1e-3).log10().floor();
        let most = values.fold(f64::NEG_INFINITY, f64::max).max(1e-3).log10().ceil();
        Self { least, most: most.max(least + 1.0) }
    }

    /// The position of a value: from 0 at the lower limit to 1 at the upper limit.
    fn place(&self, value: f64) -> f64 {
        (value.max(1e-3).log10() - self.least) / (self.most - self.least)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let (mut next, most) = (self.least, self.most);
        std::iter::from_fn(move || {
            let tick = (next <= most).then(|| 10_f64.powf(next));
            next += 1.0;
            tick
        })
    }
}

fn one(svg: &mut String, panel: &Panel) {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let (across, up) = (Axis::over(points().map(|point| point.0)), Axis::over(points().map(|point| point.1)));
    let x = |value: f64| LEFT + across.place(value) * INNER.0;
    let y = |value: f64| TOP + (1.0 - up.place(value)) * INNER.1;
    let (right, bottom) = (LEFT + INNER.0, TOP + INNER.1);
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>", panel.title);
    for tick in up.ticks() {
        let at = y(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for tick in across.ticks() {
        let at = x(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom:.1}\" stroke=\"#dddddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"end\">services</text>",
        bottom + 32.0
    );
    for (at, line) in panel.lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<String> =
            line.points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join("L")
        );
        for point in &line.points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(point.0),
                y(point.1)
            );
        }
        let legend = LEFT + 8.0 + at as f64 * 60.0;
        let _ = writeln!(
            svg,
            "<text x=\"{legend:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            bottom + 32.0,
            line.name
        );
    }
}
