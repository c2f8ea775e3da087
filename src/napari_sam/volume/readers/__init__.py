"""ONE FORMAT A FILE: image files as lazy arrays. Those of the extras import them when asked."""
