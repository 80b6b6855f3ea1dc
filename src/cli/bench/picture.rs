//! Latency by percentile, drawn: both axes logarithmic, so that each nine is as wide as the last.
//!
//! ```text
//! latency |                      __/     x: log10(1 / (1 - share)), 1 is 90 %, 2 is 99 %
//!         |        _____________/        y: log10(latency)
//!         +---------------------------
//!         0   90 %   99 %   99.9 %
//! ```

use super::measured::Latencies;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Points of a curve for each nine.
const POINTS: u32 = 40;
const NINES_MAX: u32 = 6;
const COLOURS: [&str; 2] = ["#1f6feb", "#d1570b"];
const SHARES: [&str; 7] = ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];

/// From how many to how many ns, and how many nines.
struct Axes {
    low: i32,
    high: i32,
    nines: u32,
}

impl Axes {
    fn of(series: &[(&str, &Latencies)]) -> Self {
        let least = series.iter().map(|(_, it)| it.quantile_ns(0.0).max(1)).min().unwrap_or(1);
        let most = series.iter().map(|(_, it)| it.max_ns().max(1)).max().unwrap_or(1);
        let count = series.iter().map(|(_, it)| it.count()).max().unwrap_or(1);
        let low = (least as f64).log10().floor() as i32;
        let high = (most as f64).log10().ceil() as i32;
        let nines = (count as f64).log10().ceil() as u32;
        Self { low, high: high.max(low + 1), nines: nines.clamp(1, NINES_MAX) }
    }

    fn x(&self, nines: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * nines / f64::from(self.nines)
    }

    fn y(&self, ns: u64) -> f64 {
        let decades = (ns.max(1) as f64).log10() - f64::from(self.low);
        let share = decades / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}

/// An SVG with a curve for each of the series that holds anything.
pub(super) fn percentile_curve(title: &str, series: &[(&str, &Latencies)]) -> String {
    let series: Vec<_> = series.iter().filter(|(_, it)| it.count() > 0).copied().collect();
    let axes = Axes::of(&series);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    push_grid(&mut svg, &axes);
    for (index, ((name, latencies), colour)) in series.iter().zip(COLOURS).enumerate() {
        push_curve(&mut svg, &axes, latencies, colour);
        let y = TOP + 20.0 + 18.0 * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{} ({})</text>",
            LEFT + 12.0,
            escaped(name),
            latencies.count()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn push_grid(svg: &mut String, axes: &Axes) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for decade in axes.low..=axes.high {
        let ns = 10u64.saturating_pow(decade.unsigned_abs());
        let y = axes.y(ns);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            time_text(ns)
        );
    }
    for (nines, share) in (0..=axes.nines).zip(SHARES) {
        let x = axes.x(f64::from(nines));
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{share}</text>",
            bottom + 20.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">share of requests that were not slower\
         </text>",
        (LEFT + right) / 2.0,
        bottom + 44.0
    );
}

fn push_curve(svg: &mut String, axes: &Axes, latencies: &Latencies, colour: &str) {
    svg.push_str("<polyline fill=\"none\" stroke-width=\"2\" stroke=\"");
    let _ = write!(svg, "{colour}\" points=\"");
    for point in 0..=axes.nines * POINTS {
        let nines = f64::from(point) / f64::from(POINTS);
        let latency_ns = latencies.quantile_ns(1.0 - 10f64.powf(-nines));
        let _ = write!(svg, "{:.2},{:.2} ", axes.x(nines), axes.y(latency_ns));
    }
    svg.push_str("\"/>\n");
}

/// A power of ten of ns, in the unit that suits it.
fn time_text(ns: u64) -> String {
    match ns {
        1_000_000_000.. => format!("{} s", ns / 1_000_000_000),
        1_000_000.. => format!("{} ms", ns / 1_000_000),
        1_000.. => format!("{} µs", ns / 1_000),
        _ => format!("{ns} ns"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each point of the first curve, read back as nines and ns.
    fn points(svg: &str, axes: &Axes) -> Vec<(f64, f64)> {
        let list = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let number = |text: &str| text.parse::<f64>().unwrap();
        let pairs = list.split_whitespace().map(|pair| pair.split_once(',').unwrap());
        pairs
            .map(|(x, y)| {
                let nines = (number(x) - LEFT) / (WIDTH - LEFT - RIGHT) * f64::from(axes.nines);
                let share = (HEIGHT - BOTTOM - number(y)) / (HEIGHT - TOP - BOTTOM);
                let decades = f64::from(axes.low) + share * f64::from(axes.high - axes.low);
                (nines, 10f64.powf(decades))
            })
            .collect()
    }

    #[test]
    fn the_curve_goes_through_the_percentiles() {
        let mut reads = Latencies::new().unwrap();
        (1..=100_000u64).for_each(|number| reads.record(number * 999));
        let series = [("reads", &reads)];
        let svg = percentile_curve("a < b & c", &series);
        let axes = Axes::of(&series);
        assert_eq!((axes.low, axes.high, axes.nines), (2, 8, 5));

        let points = points(&svg, &axes);
        assert_eq!(points.len(), 5 * POINTS as usize + 1);
        for (nines, ns) in &points {
            let expected = ((1.0 - 10f64.powf(-nines)) * 1e8).max(1e3);
            assert!((ns - expected).abs() <= expected * 0.01 + 1e3, "{nines}: {ns}");
        }
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains(">reads (100000)<"));
        assert!(svg.contains(">99.9 %<") && svg.contains(">1 µs<") && svg.contains(">100 ms<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_measured_is_a_picture_without_a_curve() {
        let empty = Latencies::new().unwrap();
        let svg = percentile_curve("nothing", &[("reads", &empty), ("writes", &empty)]);
        assert!(!svg.contains("polyline") && svg.ends_with("</svg>\n"));
        let mut one = Latencies::new().unwrap();
        one.record(0);
        let svg = percentile_curve("one", &[("reads", &one)]);
        assert!(svg.contains("polyline") && !svg.contains("NaN"));
    }
}
