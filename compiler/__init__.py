"""Model in, mapped artifact out."""
