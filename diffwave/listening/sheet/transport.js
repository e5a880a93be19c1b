// Play, stop, loop, and the time bar with the region that is played.

/** A time as listeners read it. */
function clock(seconds) {
  return `${seconds.toFixed(1)} s`;
}

/** One end of the region: a handle that is dragged, or moved by 0.1 s with the arrow keys. */
function regionHandle(player, side) {
  const handle = make('div', { class: `handle ${side}`, role: 'slider', tabindex: '0', 'aria-label': `Loop ${side}` });
  const move = (seconds) => {
    const { start, end } = player.region;
    if (side === 'start') player.setRegion(Math.min(seconds, end - MIN_REGION), end);
    else player.setRegion(start, Math.max(seconds, start + MIN_REGION));
  };
  handle.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -0.1, ArrowDown: -0.1, ArrowRight: 0.1, ArrowUp: 0.1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(player.region[side] + step);
  });
  return { handle, move };
}

/** Let a pointer drag the nearer handle anywhere on the bar; the player follows when it lets go. */
function dragRegion(bar, player, handles, preview) {
  let dragged = null;
  const at = (event) => {
    const box = bar.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * player.duration;
  };
  bar.addEventListener('pointerdown', (event) => {
    const { start, end } = player.region;
    dragged = Math.abs(at(event) - start) < Math.abs(at(event) - end) ? 'start' : 'end';
    bar.setPointerCapture(event.pointerId);
    preview(dragged, at(event));
  });
  bar.addEventListener('pointermove', (event) => dragged && preview(dragged, at(event)));
  bar.addEventListener('pointerup', (event) => {
    if (dragged) handles[dragged].move(at(event));
    dragged = null;
    preview(null, 0);
  });
  bar.addEventListener('pointercancel', () => {
    dragged = null;
    preview(null, 0);
  });
}

/** The bar: position, region, handles. `paint` draws it as it is now. */
function timeBar(player, withRegion) {
  const range = make('div', { class: 'range' });
  const head = make('div', { class: 'playhead' });
  const bar = make('div', { class: withRegion ? 'bar cuttable' : 'bar' }, range, head);
  const text = make('span', { class: 'clock' });
  let shown = null; // a region that is being dragged
  const handles = {};
  if (withRegion) {
    for (const side of ['start', 'end']) handles[side] = regionHandle(player, side);
    bar.append(handles.start.handle, handles.end.handle);
    dragRegion(bar, player, handles, (side, seconds) => {
      shown = side ? { ...player.region, [side]: seconds } : null;
    });
  }
  const paint = () => {
    const percent = (seconds) => `${(100 * seconds) / player.duration}%`;
    const { start, end } = shown || player.region;
    range.style.left = percent(start);
    range.style.width = percent(Math.max(0, end - start));
    head.style.left = percent(player.position());
    text.textContent = `${clock(player.position())} / ${clock(player.duration)}`;
    for (const [side, { handle }] of Object.entries(handles)) paintHandle(handle, side === 'start' ? start : end, player.duration);
  };
  return { node: make('div', { class: 'timeline' }, bar, text), paint };
}

/** Put a handle in its place and tell a screen reader where that is. */
function paintHandle(handle, seconds, duration) {
  handle.style.left = `${(100 * seconds) / duration}%`;
  handle.setAttribute('aria-valuemin', '0');
  handle.setAttribute('aria-valuemax', duration.toFixed(1));
  handle.setAttribute('aria-valuenow', seconds.toFixed(1));
  handle.setAttribute('aria-valuetext', clock(seconds));
}

/** The whole row of controls. `first` is played when nothing was chosen yet. */
function transport(player, { first, region }) {
  const toggle = () => player.toggle(player.role || first);
  const play = button('Play', { class: 'play', onclick: toggle });
  const stop = button('Stop', { onclick: () => player.stop() });
  const loop = button('Loop', { 'aria-pressed': 'false', onclick: () => player.setLoop(!player.loop) });
  const bar = timeBar(player, region);
  const refresh = () => {
    play.textContent = player.state === 'playing' ? 'Pause' : 'Play';
    play.classList.toggle('on', player.state === 'playing');
    loop.setAttribute('aria-pressed', String(player.loop));
    bar.paint();
  };
  const buttons = make('div', { class: 'buttons' }, play, stop, region ? loop : null);
  const node = make('div', { class: 'transport' }, buttons, bar.node);
  const animate = () => {
    if (!node.isConnected) return;
    bar.paint();
    requestAnimationFrame(animate);
  };
  requestAnimationFrame(animate);
  const shortcuts = { ' ': toggle, s: () => player.stop() };
  if (region) shortcuts.l = () => player.setLoop(!player.loop);
  return { node, refresh, shortcuts };
}
