"""The sections of the dock, one Qt panel a file. A panel talks to the session only."""
