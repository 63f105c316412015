"""The designs Watchword is measured against, each as small as its own manual shows it."""
