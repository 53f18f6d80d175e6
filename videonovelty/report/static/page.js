'use strict';
// The page as a whole: its state in the address, its keys, its buttons.

const html = document.documentElement;
const byId = (id) => document.getElementById(id);

function say(text) {
  byId('said').textContent = '';
  requestAnimationFrame(() => { byId('said').textContent = text; });
}

// --- address ---------------------------------------------------------------------------------------------------------

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of FILTERS) state[name] = given.get(name) || '';
  state.sort = Object.hasOwn(SORTS, given.get('sort')) ? given.get('sort') : 'order';
  state.down = given.has('down') ? given.get('down') === '1' : Boolean(SORTS[state.sort] && SORTS[state.sort].down);
  state.at = given.get('at') || '';
  state.open = given.get('open') === '1';
}

function address() {
  const said = new URLSearchParams();
  for (const name of FILTERS) if (state[name]) said.set(name, state[name]);
  if (state.sort !== 'order' || state.down) {
    said.set('sort', state.sort);
    said.set('down', state.down ? '1' : '0');
  }
  if (state.at) said.set('at', state.at);
  if (state.open) said.set('open', '1');
  return '#' + said;
}

/** Write the state to the address: a new step for back and forward, or in place. */
function writeAddress(step) {
  if (location.hash === address()) return;
  try {
    history[step ? 'pushState' : 'replaceState'](null, '', address());
  } catch {
    // a browser that forbids this for pages from disk shows the report all the same
  }
}

let addressTimer = 0;
function writeAddressSoon() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => writeAddress(false), 250);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function showFilters() {
  for (const name of FILTERS) {
    const field = byId('f-' + name);
    if (field.value.trim() !== state[name]) field.value = state[name]; // a space being typed stays
    field.classList.toggle('on', state[name] !== '');
  }
  const order = byId('f-sort');
  const wanted = `${state.sort} ${state.down ? 1 : 0}`;
  order.value = [...order.options].some((option) => option.value === wanted) ? wanted : 'other';
  byId('f-clear').disabled = FILTERS.every((name) => state[name] === '');
  for (const button of table.tHead.querySelectorAll('button')) {
    const on = button.dataset.sort === state.sort;
    button.parentElement.setAttribute('aria-sort', on ? (state.down ? 'descending' : 'ascending') : 'none');
  }
}

function showCounts() {
  const leaders = [];
  for (let i = 0; i < COUNT; i += 1) if (COLUMNS.leads[i]) leaders.push(i);
  const queued = leaders.length;
  const of = state.show === 'all' ? COUNT : queued;
  const seconds = shown.reduce((sum, i) => sum + (COLUMNS.leads[i] ? COLUMNS.view[i] : 0), 0);
  byId('shown').textContent = `${shown.length.toLocaleString('en')} of ${of.toLocaleString('en')} shown · ${spoken(seconds)} to view`;
  let made = 0;
  let left = 0;
  for (const i of leaders) {
    if (standingOf(i) && !differs(i)) made += 1;
    else left += COLUMNS.view[i];
  }
  const progress = byId('progress');
  progress.hidden = made === 0;
  progress.textContent = `${made.toLocaleString('en')} of ${queued.toLocaleString('en')} decided · ${spoken(left)} still to view`;
  const all = [...kept.made.values()].filter((m) => m.decision).length;
  byId('export').disabled = all === 0;
  byId('export').textContent = all ? `Export ${count(all, 'decision', 'decisions')}` : 'Export decisions';
  byId('kept').textContent = kept.inBrowser
    ? (all ? (kept.unsaved ? 'Kept in this browser, not exported yet.' : 'Exported.') : '')
    : 'This browser keeps nothing for this page: export before you close it.';
}

/** After a change of filters or order. */
function changed(step) {
  refresh();
  if (currentRow() >= 0) goTo(currentRow());
  showFilters();
  showCounts();
  showDetail();
  if (step) {
    writeAddress(true);
    say(`${count(shown.length, 'video', 'videos')} shown.`);
  }
}

function filter(values) {
  Object.assign(state, values);
  // what is cleared is not in the queue: show all videos, so that the answer is not empty
  if ((values.verdict === 'known' || values.reason) && state.show !== 'all' && select().length === 0) state.show = 'all';
  scroller.scrollTop = 0;
  state.at = '';
  changed(true);
}

function sortBy(sort, down) {
  state.sort = sort;
  state.down = down;
  state.at = '';
  scroller.scrollTop = 0;
  changed(true);
}

/** After a decision or a note about row i. */
function decided(i, redraw) {
  redrawRow(i);
  showCounts();
  if (!redraw || currentRow() !== i) return;
  const focused = document.activeElement && pane.contains(document.activeElement) ? document.activeElement.dataset.decision : null;
  const top = pane.scrollTop;
  showDetail();
  pane.scrollTop = top;
  if (focused) pane.querySelector(`[data-decision="${focused}"]`).focus({ preventScroll: true });
}

function move(by) {
  if (!shown.length) return;
  const place = placeOf.has(currentRow()) ? placeOf.get(currentRow()) : -1;
  moveTo(Math.min(shown.length - 1, Math.max(0, place + by)));
}

function moveTo(place) {
  const i = shown[place];
  if (i === undefined) return;
  const inTable = scroller.contains(document.activeElement) || document.activeElement === document.body;
  goTo(i);
  if (inTable && drawn.has(i)) drawn.get(i).querySelector('.name').focus({ preventScroll: true });
  showDetail();
  writeAddressSoon();
  const verdict = ROWS.verdicts[coded('verdict', i)].text;
  say(`${place + 1} of ${shown.length}: ${verdict}, ${spoken(COLUMNS.view[i])} to view${standingOf(i) ? ', decided: ' + DECISIONS[standingOf(i)] : ''}`);
}

/** In a narrow window open details cover the page: what is under them is out of reach until they close. */
function showOpen() {
  html.classList.toggle('open', state.open);
  const covered = state.open && matchMedia('(max-width: 60rem)').matches;
  for (const part of document.querySelectorAll('.top, .glance, .queue-head, .list-pane, .hand-over')) part.inert = covered;
}

function openDetail() {
  if (currentRow() < 0) return;
  state.open = true;
  showOpen();
  showDetail();
  writeAddress(true);
  const title = byId('detail-title');
  if (title) title.focus();
}

function closeDetail() {
  state.open = false;
  showOpen();
  writeAddress(true);
  draw();
  const element = drawn.get(currentRow());
  (element ? element.querySelector('.name') : scroller).focus({ preventScroll: true });
}

/** Go to row i from a link, widening the filters when they hide it. */
function visit(i) {
  if (!placeOf.has(i)) {
    for (const name of FILTERS) state[name] = '';
    if (!COLUMNS.leads[i]) state.show = 'all';
  }
  state.at = COLUMNS.entry[i];
  changed(false);
  writeAddress(true);
  const title = byId('detail-title');
  if (title) title.focus();
}

function decideCurrent(decision) {
  const i = currentRow();
  if (i < 0) return;
  if (!decide(i, decision)) {
    say('The file could not be read, so it can only be marked for a second look.');
    return;
  }
  const place = placeOf.get(i);
  decided(i, true);
  if (decision && place < shown.length - 1) moveTo(place + 1);
  else say(decision ? `${DECISIONS[decision]}. This was the last video shown.` : 'Decision taken back.');
}

// --- keys and buttons ------------------------------------------------------------------------------------------------

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  g: () => moveTo(0),
  G: () => moveTo(shown.length - 1),
  u: () => {
    const i = undo();
    if (i < 0) { say('Nothing to undo.'); return; }
    if (placeOf.has(i)) { goTo(i); showDetail(); }
    decided(i, true);
    say('Undone.');
  },
  n: () => { const field = byId('note'); if (field) { if (!state.open) openDetail(); byId('note').focus(); } },
  c: () => { const i = currentRow(); if (i >= 0) copy(COLUMNS.names[i][0], 'path'); },
  '/': () => byId('f-q').focus(),
  '?': () => byId('help').showModal(),
  0: () => decideCurrent(''),
};
DECISION_KEYS.forEach((key, n) => { KEYS[n + 1] = () => decideCurrent(key); });

// The search box filters when the typing pauses. Whatever else is done first is about what the search finds, so it
// is applied before: a decision must not fall on a row the search was about to replace.
let typing = 0;
function applySearch() {
  if (!typing) return;
  clearTimeout(typing);
  typing = 0;
  filter({ q: byId('f-q').value.trim() });
}

function forgetSearch() {
  clearTimeout(typing);
  typing = 0;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
  const target = event.target;
  const writing = target.matches('input:not([type="checkbox"]), textarea, select');
  if (!writing || event.key === 'Enter' || event.key === 'Escape') applySearch();
  if (event.key === 'Escape') {
    if (writing) target.blur();
    else if (state.open || pane.contains(target)) closeDetail();
    return;
  }
  if (writing) {
    if (event.key === 'Enter' && target === byId('f-q')) { event.preventDefault(); moveTo(0); scroller.focus(); }
    return;
  }
  if (scroller.contains(target) && !target.closest('thead')) {
    const page = Math.max(1, Math.floor(scroller.clientHeight / rowHeight) - 2);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -COUNT, End: COUNT }[event.key];
    if (by !== undefined) { event.preventDefault(); move(by); return; }
    if (event.key === 'Enter') { event.preventDefault(); openDetail(); return; }
  }
  if (event.key === 'Enter' && target === document.body) { openDetail(); return; }
  const act = KEYS[event.key];
  if (act && byId('keys-on').checked) { event.preventDefault(); act(); }
}

const THEMES = ['', 'light', 'dark'];
function showTheme(theme) {
  if (theme) html.dataset.theme = theme;
  else delete html.dataset.theme;
  byId('theme').textContent = `Colours: ${theme || 'as the system'}`;
}

function stored(name) {
  try { return localStorage.getItem(name) || ''; } catch { return ''; }
}

function store(name, value) {
  try { localStorage.setItem(name, value); } catch { /* kept for this page only */ }
}

function fill(id, options) {
  byId(id).append(...options.map(([value, text]) => h('option', { value }, text)));
}

function start() {
  html.classList.add('live');
  readKept();
  measure();
  let theme = stored('videonovelty theme');
  showTheme(THEMES.includes(theme) ? theme : '');
  byId('keys-on').checked = stored('videonovelty keys') !== 'off';
  byId('analyst').value = kept.analyst;

  fill('f-verdict', VERDICTS.map((v) => [v, ROWS.verdicts[v].text]));
  fill('f-list', ROWS.lists.map((name) => [name, name]));
  fill('f-disposition', ROWS.dispositions.map((name) => [name, name]));
  fill('f-reason', Object.entries(ROWS.reasons));

  byId('theme').addEventListener('click', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    store('videonovelty theme', theme);
    showTheme(theme);
  });
  byId('print').addEventListener('click', () => window.print());
  byId('help-open').addEventListener('click', () => byId('help').showModal());
  byId('keys-on').addEventListener('change', (event) => store('videonovelty keys', event.target.checked ? '' : 'off'));
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  byId('hand-over').addEventListener('submit', (event) => event.preventDefault());

  for (const name of FILTERS) {
    if (name === 'q') continue;
    byId('f-' + name).addEventListener('change', (event) => {
      const value = event.target.value;
      applySearch();
      filter({ [name]: value });
    });
  }
  byId('f-q').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(applySearch, 120);
  });
  byId('f-q').addEventListener('change', applySearch);
  byId('f-sort').addEventListener('change', (event) => {
    const [sort, down] = event.target.value.split(' ');
    sortBy(sort, down === '1');
  });
  byId('f-clear').addEventListener('click', () => {
    forgetSearch();
    filter(Object.fromEntries(FILTERS.map((name) => [name, ''])));
    byId('f-q').focus();
  });
  table.tHead.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const sort = button.dataset.sort;
    sortBy(sort, sort === state.sort ? !state.down : Boolean(SORTS[sort] && SORTS[sort].down));
  });
  for (const button of document.querySelectorAll('button[data-verdict], button[data-reason]')) {
    button.addEventListener('click', () => {
      forgetSearch();
      for (const name of FILTERS) state[name] = '';
      filter(button.dataset.verdict ? { verdict: button.dataset.verdict } : { reason: button.dataset.reason });
      byId('workspace').scrollIntoView();
      scroller.focus({ preventScroll: true });
    });
  }

  body.addEventListener('click', (event) => {
    const row = event.target.closest('tr.row');
    if (!row) return;
    const i = Number(row.dataset.row);
    goTo(i);
    showDetail();
    if (event.target.closest('.name')) openDetail();
    else writeAddressSoon();
  });
  let frame = 0;
  scroller.addEventListener('scroll', () => {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }, { passive: true });
  window.addEventListener('blur', hidePictures);
  window.addEventListener('pagehide', hidePictures);
  document.addEventListener('visibilitychange', hidePictures);
  window.addEventListener('resize', () => { measure(); showOpen(); draw(); });
  document.addEventListener('keydown', onKey);
  window.addEventListener('popstate', () => {
    forgetSearch();
    readAddress();
    showOpen();
    changed(false);
  });

  byId('analyst').addEventListener('input', (event) => { kept.analyst = event.target.value; writeKept(); });
  byId('export').addEventListener('click', () => {
    const field = byId('analyst');
    field.setCustomValidity(field.value.trim() ? '' : 'Say who decided: the name stands beside every decision.');
    if (!field.reportValidity()) return;
    say(`${count(exportDecisions(), 'decision', 'decisions')} exported.`);
    showCounts();
  });
  byId('analyst').addEventListener('change', (event) => event.target.setCustomValidity(''));
  byId('load').addEventListener('change', (event) => {
    const file = event.target.files[0];
    if (!file) return;
    file.text().then((text) => {
      const said = compareWith(text);
      changed(false);
      byId('kept').textContent = said;
      say(said);
    });
  });
  window.addEventListener('beforeunload', (event) => {
    if (kept.unsaved && !kept.inBrowser) event.preventDefault();
  });

  readAddress();
  showOpen();
  changed(false);
  writeAddress(false);
}

start();
