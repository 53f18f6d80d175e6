'use strict';
// One video: why it has its verdict, where its new seconds are, what the known ones are.

const pane = document.getElementById('detail');

/** A stretch by the positions `html.py` writes. */
function stretch(row) {
  const [start, end, kind, id, list, disposition, series, identified, knownStart, knownEnd, speed, mirrored, share, proof, frames, bits, inliers, evidence, whyNot, cover, look] = row;
  return { start, end, kind, id, list, disposition, series, identified, knownStart, knownEnd, speed, mirrored, share, proof, frames, bits, inliers, evidence, whyNot, cover, look };
}

function showDetail() {
  const i = currentRow();
  if (i < 0) {
    pane.replaceChildren(h('p', { class: 'muted' }, 'No video is selected.'));
    return;
  }
  const detail = detailsNow(i);
  if (detail) {
    drawDetail(i, detail);
    return;
  }
  pane.replaceChildren(h('p', { class: 'muted' }, 'Loading …'));
  loadDetails(i, () => { if (currentRow() === i) showDetail(); }, (file) => {
    pane.replaceChildren(h('p', { class: 'note urgent' }, `The details are in ${file}, which is not beside this page. Keep the report's folder together.`));
  });
}

function drawDetail(i, detail) {
  const verdict = coded('verdict', i);
  const stretches = detail.stretches.map(stretch);
  const [name] = parts(COLUMNS.names[i][0]);
  pane.scrollTop = 0;
  pane.replaceChildren(
    h('div', { class: 'detail-head' },
      h('button', { type: 'button', class: 'back', onclick: () => closeDetail() }, '← Queue'),
      h('span', { class: `chip v-${verdict}` }, ROWS.verdicts[verdict].text),
      COLUMNS.searched[i] ? h('span', { class: 'flag' }, 'children still searched for') : null),
    h('h2', { id: 'detail-title', tabindex: -1 }, h('bdi', {}, name)),
    h('p', { class: 'times' }, COLUMNS.duration[i] > 0 ? [h('b', {}, length(COLUMNS.view[i])), ` to view of ${length(COLUMNS.duration[i])}`] : 'length unknown'),
    decisionForm(i),
    h('h3', {}, 'Why this verdict'),
    h('ul', { class: 'why' }, detail.why.map((sentence) => h('li', {}, h('bdi', {}, sentence)))),
    ...timeline(i, stretches),
    ...pictures(i),
    ...stretchTable(i, stretches, detail.says),
    ...listsSay(i, detail.says),
    ...names(i, detail),
    ...group(i, detail),
    h('h3', {}, 'Technical facts'),
    facts(i, detail));
}

function decisionForm(i) {
  const made = decisionOf(i);
  const area = h('textarea', { id: 'note', rows: 1, maxlength: MAX_NOTE, oninput: (event) => { note(i, event.target.value); decided(i, false); } });
  area.value = noteOf(i);
  const material = h('select', { id: 'material', onchange: (event) => { describe(i, event.target.value); decided(i, false); } },
    Object.entries(ROWS.material).map(([value, text]) => h('option', { value }, text)));
  material.value = materialOf(i);
  return h('div', {},
    h('div', { class: 'decide', role: 'group', 'aria-label': 'Decision' }, DECISION_KEYS.map((key, n) =>
      h('button', {
        type: 'button', 'data-decision': key, 'aria-pressed': made === key ? 'true' : 'false', disabled: !allowed(i, key),
        title: allowed(i, key) ? null : 'The file could not be read, so there is nothing to enrol',
        onclick: () => { decide(i, made === key ? '' : key); decided(i, true); },
      }, h('kbd', { 'aria-hidden': 'true' }, String(n + 1)), h('span', { class: 'label' }, DECISIONS[key])))),
    h('div', { class: 'note-row' },
      h('label', { class: 'note-field' }, 'Note', area),
      h('label', { class: 'material' }, 'Material', material)),
    ...storedOf(i).map(([analyst, stored]) => h('p', { class: 'other' }, 'In the store: ', h('b', {}, h('bdi', {}, analyst)),
      `: ${word(DECISIONS, stored.decision, stored.decision)}${stored.material ? `, ${stored.material}` : ''} `,
      h('span', { class: 'muted' }, stored.at.slice(0, 16).replace('T', ' ')), stored.note ? h('span', {}, ' – ', h('bdi', {}, stored.note)) : null)),
    differs(i) ? h('p', { class: 'flag' }, 'Reviewers differ: nothing follows until they agree.')
      : awaited(i) ? h('p', { class: 'muted' }, `${count(awaited(i), 'more reviewer has', 'more reviewers have')} to look at it before it is enrolled.`) : null,
    ...othersOf(i).map(([analyst, other]) => h('p', { class: 'other' }, h('b', {}, h('bdi', {}, analyst)), `: ${DECISIONS[other.decision]}`, other.note ? h('span', {}, ' – ', h('bdi', {}, other.note)) : null)));
}

/** How many seconds of each kind, as text. */
function totals(stretches) {
  const seconds = {};
  for (const s of stretches) seconds[s.kind] = (seconds[s.kind] || 0) + s.end - s.start;
  return Object.keys(KIND_TEXT).filter((kind) => seconds[kind]).map((kind) => `${KIND_TEXT[kind]} ${spoken(seconds[kind])}`).join(', ');
}

function timeline(i, stretches) {
  const whole = COLUMNS.duration[i];
  if (!stretches.length || !(whole > 0)) return [];
  const bar = h('div', { class: 'bar', role: 'img', 'aria-label': `Timeline of ${spoken(whole)}: ${totals(stretches)}. The table below has every stretch.` });
  stretches.forEach((s, n) => {
    const share = (s.end - s.start) / whole;
    const part = h('div', {
      class: `k-${LETTER_OF_KIND[s.kind]}`, title: `${clock(s.start)}–${clock(s.end)} ${KIND_TEXT[s.kind]}`,
      onclick: () => light(n),
    }, share > 0.13 ? h('span', {}, KIND_TEXT[s.kind]) : null);
    part.style.left = `${100 * s.start / whole}%`;
    part.style.width = `max(3px, ${100 * share}%)`;
    if (s.kind === 'novel' || s.kind === 'same_scene' || s.kind === 'inside') part.style.zIndex = '1';
    bar.append(part);
    if (hasLook(s)) {
      const mark = h('b', { class: 'look', title: `One picture to look at: ${clock(s.look)}`, 'aria-hidden': 'true' });
      mark.style.left = `${100 * s.look / whole}%`;
      bar.append(mark);
    }
  });
  const axis = h('div', { class: 'axis', 'aria-hidden': 'true' });
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400].find((s) => whole / s <= 7) || whole / 5;
  for (let t = 0; t < whole - step * 0.6; t += step) axis.append(tick(t, whole, step < 1));
  axis.append(tick(whole, whole, true));
  axis.lastChild.className = 'end';
  return [h('h3', {}, 'Timeline'), bar, axis];
}

function tick(t, whole, tenths) {
  const mark = h('span', {}, tenths ? clock(t) : clock(t).replace(/\.\d$/, ''));
  mark.style.left = `${100 * t / whole}%`;
  return mark;
}

function light(n) {
  const row = pane.querySelector(`[data-stretch="${n}"]`);
  if (!row) return;
  pane.querySelectorAll('.lit').forEach((other) => other.classList.remove('lit'));
  row.classList.add('lit');
  row.scrollIntoView({ block: 'nearest' });
}

/** Pictures, where the report was made with some: none is loaded before it is asked for, and one at most is shown. */
function pictures(i) {
  const made = ROWS.pictures && ROWS.pictures.rows[i];
  if (!made) return [];
  const frame = h('div', { class: 'picture', id: 'picture' });
  const buttons = made.map(([seconds, file]) => h('button', {
    type: 'button', 'aria-pressed': 'false',
    onclick: (event) => { reveal(frame, event.currentTarget, file, seconds); },
  }, `Show ${clock(seconds)}`));
  return [
    h('h3', {}, `Pictures (small, grey${ROWS.pictures.kind === 'blurred' ? ', blurred' : ''})`),
    h('p', { class: 'muted' }, 'They show what the video shows; this protects nobody. One at a time, hidden again when you leave.'),
    h('div', { class: 'reveal', role: 'group', 'aria-label': 'Pictures' }, buttons), frame];
}

function reveal(frame, button, file, seconds) {
  const again = button.getAttribute('aria-pressed') === 'true';
  hidePictures();
  if (again) return;
  const picture = h('img', { src: file, alt: `The video at ${clock(seconds)}` });
  picture.addEventListener('error', () => { frame.replaceChildren(h('span', { class: 'muted' }, 'The picture is not beside this page.')); });
  frame.replaceChildren(picture);
  button.setAttribute('aria-pressed', 'true');
}

/** Hide what is shown: on leaving the video, the page or the window. */
function hidePictures() {
  const frame = document.getElementById('picture');
  if (frame) frame.replaceChildren();
  for (const button of pane.querySelectorAll('.reveal button')) button.setAttribute('aria-pressed', 'false');
}

const MOST_STRETCHES = 400;

function stretchTable(i, stretches, says) {
  if (!stretches.length) return [];
  const open = stretches.filter((s) => s.kind !== 'known');
  const times = open.map((s) => hasLook(s) ? clock(s.look) : `${clock(s.start)}-${clock(s.end)}`).join('\n');
  const body = h('tbody', {}, stretches.slice(0, MOST_STRETCHES).map((s, n) => h('tr', { 'data-stretch': n },
    h('th', { scope: 'row', class: 'times' }, `${clock(s.start)}–${clock(s.end)}`, h('br'), h('span', { class: 'muted' }, spoken(s.end - s.start))),
    h('td', { class: 'kind-cell' }, h('span', { class: 'kind' }, h('i', { class: `k-${LETTER_OF_KIND[s.kind]}`, 'aria-hidden': 'true' }), KIND_TEXT[s.kind])),
    h('td', {}, explanation(s, says)))));
  const more = stretches.length - MOST_STRETCHES;
  return [
    h('h3', {}, 'Stretches ', open.length ? copyButton('Copy times to view', times, 'times to view') : null),
    h('table', { class: 'grid' }, h('caption', { class: 'vh' }, 'Stretches of the video and what explains them'),
      h('thead', {}, h('tr', {}, ['Time', 'Kind', 'Explained by'].map((text) => h('th', { scope: 'col' }, text)))), body),
    ...(more > 0 ? [h('p', { class: 'muted' }, `${more} more stretches are in segments.csv.`)] : []),
  ];
}

/** What every list says about the known video that explains most. */
function listsSay(i, says) {
  const told = says[coded('known_id', i)];
  if (!told) return [];
  return [
    h('h3', {}, told.length === 1 ? 'What its list says' : `What ${told.length} lists say`),
    h('ul', { class: 'why' }, told.map(([name, words]) => h('li', {}, h('b', {}, h('bdi', {}, name)), ': ', h('bdi', {}, words)))),
  ];
}

/** Whether one picture shows all that is not known in a stretch. */
function hasLook(s) {
  return s.look !== null && s.look !== undefined;
}

/** Where something covers the picture: a small drawing of it, and in words what to do; where nothing moves, the words. */
function coverOf(s) {
  if (!s.cover) {
    if (!hasLook(s)) return null;
    return h('div', { class: 'cover' }, h('span', {}, h('b', {}, `One picture to look at: ${clock(s.look)}.`), ' Nothing moves in this stretch.'));
  }
  const [left, top, right, bottom] = s.cover;
  const box = h('i', {});
  box.style.left = `${100 * left}%`;
  box.style.top = `${100 * top}%`;
  box.style.width = `${100 * (right - left)}%`;
  box.style.height = `${100 * (bottom - top)}%`;
  const share = Math.max(1, Math.round(100 * (right - left) * (bottom - top)));
  return h('div', { class: 'cover' },
    h('span', { class: 'frame', role: 'img', 'aria-label': `The part that is covered: ${place(left, top, right, bottom)}, ${share} % of the picture` }, box),
    h('span', {}, hasLook(s)
      ? [h('b', {}, `One picture to look at: ${clock(s.look)}.`), ' What covers this part does not move; all else is as in the known footage.']
      : 'Something is over this part: look there first.'));
}

/** Where a box lies in the picture, in words. */
function place(left, top, right, bottom) {
  if (right - left > 0.95 && bottom - top > 0.95) return 'around it';
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const words = [y < 0.4 ? 'upper' : y > 0.6 ? 'lower' : '', x < 0.4 ? 'left' : x > 0.6 ? 'right' : ''].filter(Boolean);
  return words.length ? words.join(' ') : 'in the middle';
}

/** What explains a stretch, in words. */
function explanation(s, says) {
  if (!s.id) return h('span', { class: 'muted' }, { novel: s.whyNot || 'in no known video', undecoded: s.whyNot || 'could not be decoded: nobody looked at it', uninformative: 'blank or featureless', inside: 'known video not stated', same_scene: 'known video not stated', known: 'known video not stated' }[s.kind]);
  const said = [];
  if (s.knownStart !== undefined && s.knownStart !== null && s.knownEnd !== null && s.knownEnd !== undefined) said.push(`its ${clock(s.knownStart)}–${clock(s.knownEnd)}`);
  if (s.speed < 0) said.push('backwards');
  if (s.speed && Math.abs(Math.abs(s.speed) - 1) > 0.005) said.push(`at ${Math.abs(s.speed)}× speed`);
  if (s.mirrored) said.push('mirrored');
  if (s.share !== null && s.share !== undefined) said.push(s.share >= 0.97 ? 'fills the picture' : `fills ${Math.round(100 * s.share)} % of the picture`);
  const proof = word({ bytes: 'proof: same bytes', time: 'proof: movement agrees in time' }, s.proof, s.evidence === 'frames' ? 'no proof: the list brought frames only, no movement' : `no proof of same footage${s.whyNot ? `: ${s.whyNot}` : ''}`);
  const others = (says[s.id] || []).slice(1).map(([name]) => name);
  const numbers = [];
  if (s.frames) numbers.push(count(s.frames, 'keyframe', 'keyframes'));
  if (s.bits !== null && s.bits !== undefined) numbers.push(`${s.bits} bits apart`);
  if (s.inliers) numbers.push(count(s.inliers, 'matching point', 'matching points'));
  return [
    h('div', {}, [s.list ? h('b', {}, h('bdi', {}, s.list)) : 'list not stated', ` (${s.disposition || 'disposition not stated'})`, s.series ? [' · series ', h('bdi', {}, s.series)] : null].flat()),
    h('div', { class: s.identified === 'no' ? 'flag' : 'muted' }, `children ${word(IDENTIFIED_TEXT, s.identified, IDENTIFIED_TEXT.unknown)}`),
    Object.hasOwn(ROWS.by_review, s.id) ? h('div', {}, h('bdi', {}, ROWS.by_review[s.id])) : null,
    others.length ? h('div', { class: 'muted' }, 'also on ', h('bdi', {}, others.join(', '))) : null,
    said.length ? h('div', {}, said.join(' · ')) : null,
    h('div', { class: 'muted' }, [proof, ...numbers].join(' · ')),
    coverOf(s),
    h('div', { class: 'ids' }, h('bdi', { class: 'mono', title: s.id }, `${s.id.slice(0, 16)}…`), copyButton('Copy id', s.id, 'id of the known video')),
  ].filter(Boolean);
}

function names(i, detail) {
  const paths = COLUMNS.names[i];
  return [
    h('h3', {}, paths.length === 1 ? 'Path and id' : `${paths.length} paths of the same bytes, and id`),
    h('div', { class: 'ids' },
      ...paths.slice(0, 100).flatMap((path, n) => [h('bdi', { class: 'mono' }, path), copyButton('Copy path', path, 'path'),
        ...(detail.exact[n] ? [h('bdi', { class: 'mono muted' }, `exactly: ${detail.exact[n]}`), copyButton('Copy exact path for a shell', detail.exact[n], 'exact path')] : [])]),
      ...(paths.length > 100 ? [h('span', { class: 'muted' }, `${paths.length - 100} more are in verdicts.csv`), h('span')] : []),
      h('bdi', { class: 'mono' }, COLUMNS.unread[i] ? 'no id: the file could not be read' : COLUMNS.entry[i]),
      COLUMNS.unread[i] ? h('span') : copyButton('Copy id', COLUMNS.entry[i], 'id')),
  ];
}

function group(i, detail) {
  const leader = COLUMNS.leader[i];
  if (leader !== i) return [h('h3', {}, 'Group'), h('p', {}, 'Shows the same footage as ', rowLink(leader), COLUMNS.leads[leader] ? ', under which it is reviewed.' : '.')];
  if (!detail.members.length) return [];
  return [
    h('h3', {}, `This row stands for ${count(detail.members.length, 'more video', 'more videos')}`),
    h('table', { class: 'grid' }, h('caption', { class: 'vh' }, 'Other videos of tonight that show the same footage'),
      h('thead', {}, h('tr', {}, ['Video', 'Verdict', 'Evidence'].map((text) => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, detail.members.slice(0, MOST_STRETCHES).map(([j, evidence, shared, share, offset]) => h('tr', {},
        h('th', { scope: 'row' }, rowLink(j), h('div', { class: 'muted' }, `${length(COLUMNS.duration[j])}${COLUMNS.names[j].length > 1 ? `, ${COLUMNS.names[j].length} names` : ''}`)),
        h('td', {}, ROWS.verdicts[coded('verdict', j)].text),
        h('td', {}, [shared === null ? 'not stated' : count(shared, 'keyframe', 'keyframes'), share === null ? '' : ` (${Math.round(100 * share)} %)`, offset ? `, ${offset > 0 ? '+' : '−'}${clock(Math.abs(offset))}` : '', evidence >= 0 && evidence !== i ? [' with ', rowLink(evidence)] : ''].flat()))))),
  ];
}

function rowLink(i) {
  return h('button', { type: 'button', class: 'link', onclick: () => visit(i) }, h('bdi', {}, parts(COLUMNS.names[i][0])[0]));
}

function facts(i, detail) {
  const lines = [
    ['Reason', ROWS.reasons[coded('reason', i)]],
    ['Novelty', COLUMNS.novelty[i] === null ? 'not comparable' : `${(100 * COLUMNS.novelty[i]).toFixed(1)} % of the seconds that can be compared`],
    ['Novel / known', `${spoken(COLUMNS.novel[i])} / ${spoken(detail.known)}`],
    ['Nothing to compare', spoken(detail.uninformative)],
    ['Decoded', `${spoken(detail.decoded)} of ${COLUMNS.duration[i] > 0 ? spoken(COLUMNS.duration[i]) : 'an unknown length'}, ${count(detail.keyframes, 'keyframe', 'keyframes')}, longest gap ${spoken(detail.unseen)}`],
    ['Scheme', detail.scheme || 'not stated'],
    ['Snapshot', coded('snapshot', i) === null ? 'not stated' : String(coded('snapshot', i))],
    ['Sandbox', detail.sandboxed ? 'decoded in the sandbox' : 'decoded WITHOUT the sandbox'],
    ['Group', detail.group || 'none'],
  ];
  return h('dl', {}, lines.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, h('bdi', {}, text))]));
}

function copyButton(text, value, what) {
  return h('button', { type: 'button', class: 'copy', 'aria-label': text, onclick: () => copy(value, what) }, text.startsWith('Copy times') ? text : 'Copy');
}

function copy(value, what) {
  const done = () => say(`Copied the ${what}.`);
  const byHand = () => {
    const area = h('textarea', { class: 'vh', 'aria-hidden': 'true', tabindex: -1 });
    area.value = value;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    if (focused) focused.focus({ preventScroll: true });
    if (copied) done();
    else say('This browser does not let the page copy. Select the text instead.');
  };
  if (navigator.clipboard) navigator.clipboard.writeText(value).then(done, byHand);
  else byHand();
}
