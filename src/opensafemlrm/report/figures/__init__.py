"""Charts for page and paper alike: drawn by Vega-Lite, coloured by role, without a browser."""
