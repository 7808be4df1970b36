// Turns each <figure data-chart> and the JSON within it into a chart, in the page's own colours and letters.
const COLOURS = 6;
const DASHES = [[], [8, 3], [3, 3], [10, 3, 3, 3], [14, 4], [2, 5]];

// A colour token is `light-dark(…, …)`: a canvas is told which of the two.
const isDark = () => {
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  return scheme === "dark" || (scheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
};
const token = (name) =>
  getComputedStyle(document.documentElement)
    .getPropertyValue(name)
    .trim()
    .replace(/^light-dark\((.+), (.+)\)$/, (_, light, dark) => (isDark() ? dark : light));
const pixels = (name) => Number.parseFloat(token(name)) * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

// Moments come as text, those of the reader's clock, and are drawn as milliseconds since 1970 as if they were in UTC.
const number = (x) => (typeof x === "string" ? Date.parse(x) : x);

function line(series, place) {
  const colour = series.is_guide ? token("--quiet") : token(`--chart-${(place % COLOURS) + 1}`);
  return {
    type: "scatter",
    label: series.label,
    data: series.x.map((x, index) => ({ x: number(x), y: series.y[index] })),
    showLine: !series.is_points,
    borderColor: colour,
    backgroundColor: colour,
    borderWidth: series.is_guide ? 1 : 2,
    borderDash: series.is_guide ? [2, 4] : DASHES[place % DASHES.length],
    pointRadius: series.is_marked ? 3 : 0,
    pointHitRadius: series.is_guide ? 0 : 8,
    pointHoverRadius: series.is_guide ? 0 : 4,
  };
}

// The upper bound is filled down to the lower one, which comes next.
function band(series, place) {
  const colour = token(`--chart-${(place % COLOURS) + 1}`);
  const edge = (bounds, fill) => ({
    type: "scatter",
    data: series.x.map((x, index) => ({ x: number(x), y: bounds[index] })),
    showLine: true,
    borderWidth: 0,
    pointRadius: 0,
    pointHitRadius: 0,
    backgroundColor: Chart.helpers.color(colour).alpha(0.18).rgbString(),
    fill,
    isAid: true,
  });
  return series.low.length ? [edge(series.high, "+1"), edge(series.low, false)] : [];
}

// Several series stand beside each other; one alone has the spread of each bar.
function bars(series, place, { length }) {
  const bar = { type: "bar", grouped: length > 1, label: series.label };
  if (length > 1) {
    return [{ ...bar, data: series.x, backgroundColor: token(`--chart-${(place % COLOURS) + 1}`) }];
  }
  const ends = series.x.map((x, index) => [x - series.spread[index], x + series.spread[index]]);
  return [
    { ...bar, data: ends, backgroundColor: token("--ink"), barThickness: 2, isAid: true },
    { ...bar, data: series.x, backgroundColor: token("--chart-1"), barPercentage: 0.7 },
  ];
}

// An axis's title in lines that fit: the library would press a long one together, or let it run out of the picture.
function inLines(text, length) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${pixels("--text-small")}px ${token("--font")}`;
  return text.split(" ").reduce((lines, word) => {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    const fits = lines.length && pen.measureText(longer).width <= length;
    return fits ? [...lines.slice(0, -1), longer] : [...lines, word];
  }, []);
}

function axis(title, { isUnit = false, isNames = false, beginAtZero = false, precision } = {}) {
  const grid = { color: isNames ? "transparent" : token("--line") };
  const limits = isUnit ? { min: 0, max: 1 } : {};
  const ticks = { color: token("--quiet"), autoSkip: !isNames, maxRotation: 0, precision };
  const text = { display: !isNames && title.length > 0, text: title, color: token("--quiet") };
  return { type: isNames ? "category" : "linear", title: text, grid, ticks, border: { color: token("--line-strong") }, beginAtZero, ...limits };
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 1440 * MINUTE;
// Ticks of a time axis stand at round times.
const STEPS = [1, 5, 15, 60, 300, 900, 3600, 21600].map((seconds) => seconds * SECOND).concat([DAY, 7 * DAY, 30 * DAY]);
const MOST_STEPS = 6;

const moment = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ");

// Only what differs from tick to tick.
function tickText(tick, step) {
  if (step < MINUTE) {
    return moment(tick).slice(11);
  }
  // In two lines, so that those side by side do not meet.
  return step < DAY ? [moment(tick).slice(11, 16), moment(tick).slice(5, 10)] : moment(tick).slice(0, 10);
}

function timeAxis(title, series, marks) {
  const moments = series.flatMap(({ x }) => x.map(number)).concat(marks.map(({ at }) => number(at)));
  const [first, last] = [Math.min(...moments), Math.max(...moments)];
  const stepSize = STEPS.find((step) => (last - first) / step <= MOST_STEPS) ?? (last - first) / MOST_STEPS;
  const callback = (tick) => tickText(tick, stepSize);
  const margin = Math.max((last - first) / 50, SECOND / 2);
  const plain = axis(title);
  const [min, max] = [first - margin, last + margin];
  // The library would divide the axis evenly instead.
  const afterBuildTicks = (scale) => {
    const lowest = Math.ceil(min / stepSize);
    scale.ticks = Array.from({ length: Math.floor(max / stepSize) - lowest + 1 }, (_, index) => ({ value: (lowest + index) * stepSize }));
  };
  return { ...plain, min, max, afterBuildTicks, ticks: { ...plain.ticks, callback } };
}

// Moments such as promotions: a line across, with its name at the top.
const marking = (marks) => ({
  id: "marks",
  afterDatasetsDraw({ ctx, chartArea, scales }) {
    ctx.save();
    ctx.strokeStyle = token("--line-strong");
    ctx.fillStyle = token("--quiet");
    ctx.font = `${pixels("--text-small")}px ${token("--font")}`;
    ctx.setLineDash([4, 3]);
    const rows = [[], [], []];
    // The newest first: where there is no room for all names, those of the oldest are left out.
    const newestFirst = [...marks].sort((one, other) => number(other.at) - number(one.at));
    newestFirst.forEach(({ at, label }) => {
      const x = scales.x.getPixelForValue(number(at));
      const width = ctx.measureText(label).width;
      const isRight = x + width + 4 > chartArea.right;
      ctx.textAlign = isRight ? "right" : "left";
      ctx.beginPath();
      ctx.moveTo(x, chartArea.top);
      ctx.lineTo(x, chartArea.bottom);
      ctx.stroke();
      // Names of neighbours stand below each other.
      const start = isRight ? x - 4 - width : x + 4;
      const row = rows.findIndex((names) => names.every((name) => start > name.end || start + width < name.start));
      if (row >= 0) {
        rows[row].push({ start, end: start + width });
        ctx.fillText(label, x + (isRight ? -4 : 4), chartArea.top + (1 + row) * pixels("--text-small"));
      }
    });
    ctx.restore();
  },
});

// Lines are told apart by their dashes too, not by colour alone.
function legend(chart) {
  const items = Chart.defaults.plugins.legend.labels.generateLabels(chart);
  const lines = items.filter((item) => !chart.data.datasets[item.datasetIndex].isAid);
  return lines.map((item) => {
    const { borderDash, borderWidth, type } = chart.data.datasets[item.datasetIndex];
    if (type === "bar") {
      return { ...item, pointStyle: "rect", lineWidth: 0, fontColor: token("--ink") };
    }
    return { ...item, pointStyle: "line", lineDash: borderDash, lineWidth: borderWidth, fontColor: token("--ink") };
  });
}

function configuration(chart, { clientWidth, clientHeight }) {
  const isBars = chart.kind === "bars";
  // Beside the axis stand the other one's numbers, and below the picture its legend.
  const xTitle = inLines(chart.x_label, clientWidth * (isBars ? 0.5 : 0.75));
  // What the picture is called is not said again beside it.
  const yTitle = chart.y_label === chart.title ? [] : inLines(chart.y_label, clientHeight * 0.5);
  // Between one and two of what is counted there is nothing.
  const isCounts = chart.is_from_zero && chart.series.every(({ y }) => y.every(Number.isInteger));
  const isUnit = chart.is_unit_square;
  const isTimes = chart.kind === "times";
  const x = isTimes ? timeAxis(xTitle, chart.series, chart.marks) : axis(xTitle, { isUnit });
  const timeTexts = {
    title: (items) => (items.length ? moment(items[0].parsed.x) : ""),
    label: (item) => `${item.dataset.label}: ${item.parsed.y.toLocaleString(document.documentElement.lang, { minimumFractionDigits: 3, maximumFractionDigits: 3 })}`,
  };
  return {
    type: isBars ? "bar" : "scatter",
    plugins: isTimes && chart.marks.length ? [marking(chart.marks)] : [],
    data: {
      labels: isBars ? chart.series[0].y : undefined,
      datasets: isBars ? chart.series.flatMap(bars) : [...chart.series.map(line), ...chart.series.flatMap(band)],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      indexAxis: isBars ? "y" : "x",
      interaction: { mode: "nearest", intersect: false },
      scales: { x, y: axis(yTitle, { isUnit, isNames: isBars, beginAtZero: chart.is_from_zero, precision: isCounts ? 0 : undefined }) },
      plugins: {
        legend: {
          display: !isBars || chart.series.length > 1,
          position: "bottom",
          labels: { usePointStyle: true, pointStyleWidth: 28, generateLabels: legend },
        },
        tooltip: { filter: (item) => !item.dataset.isAid, callbacks: isTimes ? timeTexts : {} },
      },
    },
  };
}

const recordOf = (figure) => JSON.parse(figure.querySelector("script").textContent);

function draw(figure) {
  const canvas = figure.querySelector("canvas");
  Chart.getChart(canvas)?.destroy();
  new Chart(canvas, configuration(recordOf(figure), canvas.parentElement));
  for (const button of figure.querySelectorAll("[data-save]")) {
    button.hidden = false;
  }
}

// A text that a spreadsheet would run as a formula gets a quote before it.
function cell(value) {
  const text = typeof value === "string" && /^\s*[=+\-@]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv(figure) {
  const { series, kind, x_label: x, y_label: y } = recordOf(figure);
  const bounds = ["low", "high", "spread"].filter((name) => series.some((line) => line[name].length));
  const place = (value) => (kind === "times" ? moment(number(value)) : value);
  const rows = series
    .filter((line) => !line.is_guide)
    .flatMap((line) => line.x.map((value, index) => [line.label, place(value), line.y[index], ...bounds.map((name) => line[name][index])]));
  const lines = [["series", x, y, ...bounds], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`);
  return new Blob(["\ufeff", ...lines], { type: "text/csv;charset=utf-8" });
}

// On the page's own ground, with the title above.
function png(figure) {
  const canvas = figure.querySelector("canvas");
  const size = (pixels("--text-small") * canvas.width) / canvas.clientWidth;
  const picture = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height + 2 * size });
  const pen = picture.getContext("2d");
  pen.fillStyle = token("--surface");
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.fillStyle = token("--ink");
  pen.font = `${size}px ${token("--font")}`;
  pen.fillText(figure.querySelector("figcaption").textContent, size, 1.3 * size);
  pen.drawImage(canvas, 0, 2 * size);
  return new Promise((done) => {
    picture.toBlob(done);
  });
}

const FILES = { csv, png };

document.addEventListener("click", async ({ target }) => {
  const kind = target.closest("[data-save]")?.dataset.save;
  if (!kind) {
    return;
  }
  const figure = target.closest("[data-chart]");
  const address = URL.createObjectURL(await FILES[kind](figure));
  Object.assign(document.createElement("a"), { href: address, download: `${recordOf(figure).name}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), MINUTE);
});

function drawAll(element) {
  Chart.defaults.locale = document.documentElement.lang;
  Chart.defaults.font.family = token("--font");
  Chart.defaults.font.size = pixels("--text-small");
  for (const figure of element.querySelectorAll("[data-chart]")) {
    draw(figure);
  }
}

// A fragment that htmx brings later may hold charts too; the first load is of the whole page.
document.addEventListener("htmx:load", ({ detail }) => drawAll(detail.elt));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
