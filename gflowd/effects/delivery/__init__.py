"""Hands notifications to the world: mail, webhooks, commands and what apprise speaks. Knows no job, keeps nothing."""
