//! Bars, as plain SVG.

use std::fmt::Write;

use crate::rounds::Spread;

/// Horizontal bars with a line from the smallest to the largest.
pub fn bars(title: &str, unit: &str, bars: &[(String, Spread)]) -> String {
    let height = TOP + bars.len() as f64 * STEP + 10.0;
    let largest = bars.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value / largest * SPAN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"13\">{title}: {unit}</text>\n"
    );
    for (at, (name, Spread { median, min, max })) in bars.iter().enumerate() {
        let y = TOP + at as f64 * STEP;
        let (length, middle) = (x(*median) - LEFT, y + BAR / 2.0);
        let (color, text) = if name == "ottla" { ("#c2410c", y + 13.0) } else { ("#94a3b8", y + 13.0) };
        // Writing to a string always succeeds.
        let _ok = writeln!(
            svg,
            "<text x=\"{right}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{color}\"/>\
             <line x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\" stroke=\"#1e293b\"/>\
             <text x=\"{label:.1}\" y=\"{text}\">{figure}</text>",
            right = LEFT - 6.0,
            from = x(*min),
            to = x(*max),
            label = x(*max) + 6.0,
            figure = short(*median),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Three digits and what they count.
pub fn short(figure: f64) -> String {
    let (scaled, unit) = match figure {
        _ if figure >= 1e6 => (figure / 1e6, " M"),
        _ if figure >= 1e4 => (figure / 1e3, " k"),
        _ => (figure, ""),
    };
    match scaled {
        _ if scaled >= 100.0 => format!("{scaled:.0}{unit}"),
        _ if scaled >= 10.0 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.2}{unit}"),
    }
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 170.0;
const SPAN: f64 = 460.0;
const TOP: f64 = 30.0;
const STEP: f64 = 22.0;
const BAR: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that attributes of this name have, in order.
    fn numbers(svg: &str, name: &str) -> Vec<f64> {
        let attribute = format!(" {name}=\"");
        let values = svg.split(&*attribute).skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        values.filter_map(|value| value.parse().ok()).collect()
    }

    #[test]
    fn two_clients_have_two_bars_in_proportion() {
        let spread = |median, min, max| Spread { median, min, max };
        for (fast, slow, ratio) in [
            (spread(300.0, 290.0, 400.0), spread(100.0, 90.0, 110.0), Some(3.0)),
            (spread(0.0, 0.0, 0.0), spread(0.0, 0.0, 0.0), None),
        ] {
            let svg = bars("rate", "records/s", &[("ottla".to_owned(), fast), ("another".to_owned(), slow)]);
            let lengths: Vec<f64> = svg
                .split("<rect ")
                .filter(|rest| rest.contains("fill=\"#"))
                .map(|rest| numbers(rest, "width").remove(0))
                .collect();
            let [fast, slow] = lengths[..] else { panic!("{svg}") };
            match ratio {
                Some(ratio) => assert!((fast / slow - ratio).abs() < 0.01, "{fast} and {slow}"),
                None => assert_eq!((fast, slow), (0.0, 0.0)),
            }
            for name in ["x", "y", "x1", "x2", "y1", "y2", "width", "height"] {
                assert!(numbers(&svg, name).iter().all(|it| it.is_finite()), "{name} in {svg}");
            }
        }
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(short(2_345_678.0), "2.35 M");
        assert_eq!(short(34_567.0), "34.6 k");
        assert_eq!(short(345.6), "346");
        assert_eq!(short(1.234), "1.23");
    }
}
